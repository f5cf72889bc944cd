// A TPM's quotes without a TPM: real structures, real keys, real signatures.
#ifndef CUPEL_TESTS_SUPPORT_FAKE_TPM_H_
#define CUPEL_TESTS_SUPPORT_FAKE_TPM_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/tpm/attest.h"
#include "common/tpm/constants.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "common/tpm/public_area.h"

namespace cupel::testing {

enum class FakeKeyKind { kRsa2048, kEcP256, kEcP384 };

// A key pair. Keys of a kind and `index` are made once a process: RSA takes its
// time. Ends the process where OpenSSL fails.
std::shared_ptr<EVP_PKEY> FakeKeyPair(FakeKeyKind kind, int index = 0);

// `kind` and the signing scheme that goes with it.
struct FakeAkOptions {
  FakeKeyKind kind = FakeKeyKind::kEcP256;
  tpm::AlgId scheme = tpm::AlgId::kEcdsa;
  crypto::HashAlgorithm hash = crypto::HashAlgorithm::kSha256;
  int key_index = 0;
  // The Name of the EK that it is a child of; empty: of one that every FakeTpm
  // has (L-2).
  std::vector<uint8_t> ek_name = {};
};

struct FakeQuote {
  std::vector<uint8_t> attest;     // TPMS_ATTEST
  std::vector<uint8_t> signature;  // TPMT_SIGNATURE
};

class FakeTpm {
 public:
  explicit FakeTpm(const FakeAkOptions& options = {});

  // What the next quote reports. Set what the test is about.
  tpm::PcrValues pcrs;
  tpm::ClockInfo clock_info{.clock = 1000, .reset_count = 1};
  uint64_t firmware_version = 0x2019102300163636;

  // The AK: a child of the EK, with the attributes that an AK must have.
  const tpm::PublicArea& ak() const { return ak_; }
  // The AK as tpm2_createak -f tss writes it.
  std::vector<uint8_t> AkFile() const;
  // The Name of the EK.
  const std::vector<uint8_t>& ek_name() const { return ek_name_; }

  // What TPM2_Quote signs for this selection of the PCRs above. PCRs without a
  // value are taken out of the selection, as for a bank that is not allocated.
  tpm::Attest MakeAttest(const tpm::PcrSelection& selection,
                         std::span<const uint8_t> qualifying_data) const;

  // A TPMT_SIGNATURE by the AK over `message`, whatever it is.
  std::vector<uint8_t> Sign(std::span<const uint8_t> message) const;
  // The same with another scheme or hash than the AK's fixed one; the scheme
  // must fit the kind of key.
  std::vector<uint8_t> SignAs(tpm::AlgId scheme, crypto::HashAlgorithm hash,
                              std::span<const uint8_t> message) const;

  FakeQuote Quote(const tpm::PcrSelection& selection,
                  std::span<const uint8_t> qualifying_data) const;
  // Signs `attest` as it stands.
  FakeQuote Quote(const tpm::Attest& attest) const;

 private:
  FakeAkOptions options_;
  std::shared_ptr<EVP_PKEY> key_;
  tpm::PublicArea ak_;
  std::vector<uint8_t> ek_name_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_FAKE_TPM_H_
