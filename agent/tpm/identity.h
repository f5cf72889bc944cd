// The machine's identity: its EK, and its AK that outlives restarts.
#ifndef CUPEL_AGENT_TPM_IDENTITY_H_
#define CUPEL_AGENT_TPM_IDENTITY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/tpm/tpm.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/public_area.h"

namespace cupel::agent {

// Writes `ak` to `path`, with rights for its owner alone, in one step: a reader
// sees the old file or the new one, also after a power cut. kPermissionDenied,
// kNotFound (the folder) or kUnavailable with the path.
//
// Format, big-endian: "CUPELAK" | u8 version 1 | u16 size | EK template's name
// ("L-1") | u16 size | EK's Name | u16 size | TPM2B_PUBLIC | u16 size |
// TPM2B_PRIVATE | u8[32] SHA-256 of everything before.
absl::Status SaveAk(const std::string& path, const AkBlobs& ak);

// kNotFound if there is no such file; kDataLoss, with the cure, if it is not
// what SaveAk wrote; kPermissionDenied, kUnavailable as ReadFile.
absl::StatusOr<AkBlobs> LoadAk(const std::string& path);

// The certificate of that template among those that NV has. kNotFound, with the
// cure, if there is none; what is wrong with it.
absl::StatusOr<std::vector<uint8_t>> EkCertificateOf(
    tpm::EkTemplate ek_template,
    const std::vector<EkCertificate>& certificates);

struct IdentityOptions {
  // The AK is kept here as "ak". Must exist.
  std::string state_folder = {};
  // nullopt: that of the AK that is kept; else the first of tpm::kEkTemplates
  // that the TPM has a well-formed certificate of; else L-1.
  std::optional<tpm::EkTemplate> ek_template = std::nullopt;
  AkKind ak_kind = AkKind::kEccP256;
};

struct Identity {
  tpm::EkTemplate ek_template = tpm::EkTemplate::kL1;
  tpm::PublicArea ek;
  // DER, from NV; kNotFound, with the cure, if there is none, else what is
  // wrong with it.
  absl::StatusOr<std::vector<uint8_t>> ek_certificate;
  tpm::PublicArea ak;
  bool ak_is_new = false;
};

// Has `tpm` use the AK that is kept (Tpm::UseAk), or makes one and keeps it.
// An AK that is kept is never replaced: whatever is wrong with it is an error
// that says what to do.
//
// Errors: LoadAk's but kNotFound, SaveAk's, the TPM's; kFailedPrecondition if
// the AK does not load, or is of another kind or EK than `options` ask for.
absl::StatusOr<Identity> PrepareIdentity(Tpm& tpm,
                                         const IdentityOptions& options);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_IDENTITY_H_
