// What the agent needs of a TPM 2.0, in Cupel's own types.
#ifndef CUPEL_AGENT_TPM_TPM_H_
#define CUPEL_AGENT_TPM_TPM_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/tpm/attest.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "common/tpm/public_area.h"
#include "common/util/secret.h"

namespace cupel::agent {

struct EkCertificate {
  tpm::EkTemplate ek_template = tpm::EkTemplate::kL1;
  // kInvalidArgument, with the NV index, where what is there is no DER.
  absl::StatusOr<std::vector<uint8_t>> der;
};

enum class AkKind : uint8_t {
  kEccP256,  // ECDSA with SHA-256
  kRsa2048,  // RSASSA with SHA-256
};

// An attestation key as it is kept outside of the TPM. The private part is
// encrypted by the TPM and of use to no other.
struct AkBlobs {
  tpm::EkTemplate ek_template = tpm::EkTemplate::kL1;
  std::vector<uint8_t> ek_name;       // of the EK that is its parent
  std::vector<uint8_t> public_blob;   // TPM2B_PUBLIC
  std::vector<uint8_t> private_blob;  // TPM2B_PRIVATE
  friend bool operator==(const AkBlobs&, const AkBlobs&) = default;
};

struct Quote {
  std::vector<uint8_t> attest;     // TPMS_ATTEST
  std::vector<uint8_t> signature;  // TPMT_SIGNATURE
  tpm::PcrValues values;           // those that its pcrDigest is over
};

// What a TPM says of itself, for people who look for what is wrong.
struct TpmState {
  std::string manufacturer;  // as the TPM has it: "IFX", "IBM"
  tpm::ClockInfo clock;
  bool is_locked_out = false;    // after wrong passwords or power cuts
  bool has_endorsement = false;  // the endorsement hierarchy is enabled
  // How many more fit in. A resource manager answers for its own.
  uint32_t free_object_count = 0;
  uint32_t free_session_count = 0;
  // Banks with PCRs that AllocatedBanks() leaves out, by TPM_ALG_ID.
  std::vector<uint16_t> unnamed_banks;
};

// Errors of every method: kUnavailable if the TPM can't be reached, is busy or
// broke off (worth another try, which connects anew), kPermissionDenied,
// kResourceExhausted where the TPM has no room for another object or session,
// kUnimplemented for what this TPM lacks, kFailedPrecondition for what somebody
// has to put right. Messages name the TPM's command and the cure.
//
// Methods may be called by several threads; they run one after another. Each
// takes milliseconds with a software TPM, up to seconds with a chip, and longer
// while a TPM stalls.
class Tpm {
 public:
  virtual ~Tpm() = default;

  // The banks that have PCRs, in the TPM's order. Banks that Cupel has no name
  // for are left out.
  virtual absl::StatusOr<std::vector<crypto::HashAlgorithm>>
  AllocatedBanks() = 0;

  virtual absl::StatusOr<TpmState> ReadState() = 0;

  // The values of all PCRs of `selection`, of one moment. kFailedPrecondition
  // if a bank of it is not allocated.
  virtual absl::StatusOr<tpm::PcrValues> ReadPcrs(
      const tpm::PcrSelection& selection) = 0;

  // Extends `pcr` (0 to 23) by one value in each bank named, in one step.
  virtual absl::Status ExtendPcr(uint32_t pcr,
                                 std::span<const crypto::Digest> values) = 0;

  // The certificates that the TPM's maker left in NV, in the order of
  // tpm::kEkTemplates; none is no error, nor is one that is malformed. Whatever
  // NV holds after the DER is cut off.
  virtual absl::StatusOr<std::vector<EkCertificate>> ReadEkCertificates() = 0;

  // The public area of the EK that this TPM makes from the template.
  virtual absl::StatusOr<tpm::PublicArea> ReadEk(
      tpm::EkTemplate ek_template) = 0;

  // Makes an AK under that EK: restricted, sign, fixedTPM, fixedParent,
  // sensitiveDataOrigin, userWithAuth with an empty password, noDA.
  virtual absl::StatusOr<AkBlobs> CreateAk(tpm::EkTemplate ek_template,
                                           AkKind kind) = 0;

  // Takes `ak` for ActivateCredential and Quote from now on, and removes what a
  // killed process left of it in the TPM. Returns its public area.
  //
  // kFailedPrecondition if this TPM does not load it: it is another TPM's, or
  // the TPM was cleared.
  virtual absl::StatusOr<tpm::PublicArea> UseAk(const AkBlobs& ak) = 0;

  // TPM2_ActivateCredential with the AK and its EK. kFailedPrecondition before
  // UseAk; kPermissionDenied if the credential is for another EK or AK, or if
  // the endorsement hierarchy's password is wrong.
  virtual absl::StatusOr<Secret> ActivateCredential(
      const tpm::Credential& credential) = 0;

  // Quotes `selection` with the AK, and the values that go with it.
  // `qualifying_data` has at most tpm::kMaxDataSize bytes. kFailedPrecondition
  // before UseAk, or if a bank is not allocated; kUnavailable if the PCRs
  // changed in between again and again.
  virtual absl::StatusOr<Quote> MakeQuote(
      std::span<const uint8_t> qualifying_data,
      const tpm::PcrSelection& selection) = 0;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_TPM_H_
