#include "tests/support/fake_tpm.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "common/crypto/public_key.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/marshal.h"
#include "common/tpm/signature.h"
#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

using crypto::HashAlgorithm;
using crypto::Owned;
using tpm::AlgId;

constexpr uint32_t kAkAttributes =
    tpm::kAttrFixedTpm | tpm::kAttrFixedParent | tpm::kAttrSensitiveDataOrigin |
    tpm::kAttrUserWithAuth | tpm::kAttrRestricted | tpm::kAttrSign;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "fake TPM: %s\n", what);
  std::abort();
}

EVP_PKEY* MakeKeyPair(FakeKeyKind kind) {
  EVP_PKEY* key = nullptr;
  switch (kind) {
    case FakeKeyKind::kRsa2048:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{2048});
      break;
    case FakeKeyKind::kEcP256:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
      break;
    case FakeKeyKind::kEcP384:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384");
      break;
  }
  if (key == nullptr) Die("making a key pair");
  return key;
}

std::vector<uint8_t> Number(const EVP_PKEY* key, const char* name,
                            size_t size) {
  auto number = tpm::KeyNumber(key, name, size);
  if (!number.ok()) Die(name);
  return *std::move(number);
}

tpm::PublicArea MakeArea(const FakeAkOptions& options, const EVP_PKEY* key) {
  tpm::PublicArea area;
  area.attributes = kAkAttributes;
  area.scheme = {options.scheme, options.hash};
  if (options.kind == FakeKeyKind::kRsa2048) {
    area.type = AlgId::kRsa;
    area.key_bits = 2048;
    area.modulus = Number(key, OSSL_PKEY_PARAM_RSA_N, 256);
    return area;
  }
  area.type = AlgId::kEcc;
  area.curve = options.kind == FakeKeyKind::kEcP256 ? crypto::EcCurve::kP256
                                                    : crypto::EcCurve::kP384;
  const size_t size = tpm::EcFieldSize(area.curve);
  area.x = Number(key, OSSL_PKEY_PARAM_EC_PUB_X, size);
  area.y = Number(key, OSSL_PKEY_PARAM_EC_PUB_Y, size);
  return area;
}

std::vector<uint8_t> MakeEkName() {
  tpm::PublicArea ek = tpm::EkTemplateArea(tpm::EkTemplate::kL2);
  const std::shared_ptr<EVP_PKEY> key = FakeKeyPair(FakeKeyKind::kEcP256, 99);
  ek.x = Number(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, 32);
  ek.y = Number(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32);
  return ek.Name();
}

std::vector<uint8_t> RawSignature(EVP_PKEY* key, AlgId scheme,
                                  HashAlgorithm hash,
                                  std::span<const uint8_t> message) {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;  // owned by `context`
  if (!context ||
      EVP_DigestSignInit(context.get(), &key_context,
                         crypto::FetchedDigest(hash), nullptr, key) != 1) {
    Die("EVP_DigestSignInit");
  }
  if (scheme == AlgId::kRsapss &&
      (EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING) != 1 ||
       EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST) !=
           1)) {
    Die("RSA-PSS");
  }
  size_t size = 0;
  if (EVP_DigestSign(context.get(), nullptr, &size, message.data(),
                     message.size()) != 1) {
    Die("EVP_DigestSign");
  }
  std::vector<uint8_t> signature(size);
  if (EVP_DigestSign(context.get(), signature.data(), &size, message.data(),
                     message.size()) != 1) {
    Die("EVP_DigestSign");
  }
  signature.resize(size);
  return signature;
}

std::vector<uint8_t> ToBytes(const BIGNUM* number, size_t size) {
  std::vector<uint8_t> bytes(size);
  if (BN_bn2binpad(number, bytes.data(), static_cast<int>(size)) < 0) {
    Die("BN_bn2binpad");
  }
  return bytes;
}

}  // namespace

std::shared_ptr<EVP_PKEY> FakeKeyPair(FakeKeyKind kind, int index) {
  static std::mutex mutex;
  static std::map<std::pair<FakeKeyKind, int>, std::shared_ptr<EVP_PKEY>> keys;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<EVP_PKEY>& key = keys[{kind, index}];
  if (!key) key.reset(MakeKeyPair(kind), EVP_PKEY_free);
  return key;
}

FakeTpm::FakeTpm(const FakeAkOptions& options)
    : options_(options),
      key_(FakeKeyPair(options.kind, options.key_index)),
      ak_(MakeArea(options, key_.get())),
      ek_name_(options.ek_name.empty() ? MakeEkName() : options.ek_name) {}

std::vector<uint8_t> FakeTpm::AkFile() const {
  std::vector<uint8_t> file;
  tpm::AppendSized16(file, ak_.Serialize());
  return file;
}

tpm::Attest FakeTpm::MakeAttest(
    const tpm::PcrSelection& selection,
    std::span<const uint8_t> qualifying_data) const {
  tpm::Attest attest;
  attest.qualified_signer =
      tpm::QualifiedName(tpm::EkQualifiedName(ek_name_).value(), ak_.Name())
          .value();
  attest.extra_data = ToVector(qualifying_data);
  attest.clock_info = clock_info;
  attest.firmware_version = firmware_version;
  std::vector<tpm::BankSelection> banks = selection.banks();
  for (tpm::BankSelection& bank : banks) {
    for (uint32_t pcr = 0; pcr < tpm::kPcrCount; ++pcr) {
      if (pcrs.Find(bank.bank, pcr) == nullptr) {
        bank.mask &= ~(uint32_t{1} << pcr);
      }
    }
  }
  attest.quote.selection = tpm::PcrSelection::Create(std::move(banks)).value();
  attest.quote.pcr_digest =
      ToVector(tpm::PcrComposite(options_.hash, attest.quote.selection, pcrs)
                   .value()
                   .bytes());
  return attest;
}

std::vector<uint8_t> FakeTpm::Sign(std::span<const uint8_t> message) const {
  return SignAs(options_.scheme, options_.hash, message);
}

std::vector<uint8_t> FakeTpm::SignAs(AlgId scheme, HashAlgorithm hash,
                                     std::span<const uint8_t> message) const {
  const std::vector<uint8_t> raw =
      RawSignature(key_.get(), scheme, hash, message);
  tpm::Signature signature;
  signature.scheme = scheme;
  signature.hash = hash;
  if (scheme != AlgId::kEcdsa) {
    signature.rsa = raw;
    return tpm::SerializeSignature(signature);
  }
  const uint8_t* next = raw.data();
  const Owned<ECDSA_SIG> pair(
      d2i_ECDSA_SIG(nullptr, &next, static_cast<long>(raw.size())));
  if (!pair) Die("d2i_ECDSA_SIG");
  const size_t size = tpm::EcFieldSize(ak_.curve);
  signature.r = ToBytes(ECDSA_SIG_get0_r(pair.get()), size);
  signature.s = ToBytes(ECDSA_SIG_get0_s(pair.get()), size);
  return tpm::SerializeSignature(signature);
}

FakeQuote FakeTpm::Quote(const tpm::PcrSelection& selection,
                         std::span<const uint8_t> qualifying_data) const {
  return Quote(MakeAttest(selection, qualifying_data));
}

FakeQuote FakeTpm::Quote(const tpm::Attest& attest) const {
  FakeQuote quote;
  quote.attest = tpm::SerializeAttest(attest);
  quote.signature = Sign(quote.attest);
  return quote;
}

}  // namespace cupel::testing
