#include "agent/tpm/return_code.h"

#include <tss2/tss2_common.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tpm2_types.h>

#include "absl/strings/str_cat.h"

namespace cupel::agent {
namespace {

struct Meaning {
  uint32_t code;
  absl::StatusCode status;
  const char* cure;
};

constexpr char kNoRoom[] =
    "all of the TPM's slots are taken: use the kernel's resource manager "
    "(device:/dev/tpmrm0), or free them with tpm2_flushcontext -t -l -s";
constexpr char kTryAgain[] = "the TPM is busy: it is tried again";
constexpr char kPassword[] =
    "check the password of the endorsement hierarchy in the configuration";
constexpr char kLacks[] =
    "this TPM lacks the algorithm: choose another EK template or kind of AK";
constexpr char kForeign[] =
    "it was made by another TPM, for another key, or before this TPM was "
    "cleared";
constexpr char kUnreachable[] =
    "check that the TPM is there, that its configuration string is right, and "
    "that this user may use it (group tss)";

// One line a code. Those of format one stand without their handle, parameter or
// session number.
constexpr Meaning kMeanings[] = {
    {TPM2_RC_OBJECT_MEMORY, absl::StatusCode::kResourceExhausted, kNoRoom},
    {TPM2_RC_OBJECT_HANDLES, absl::StatusCode::kResourceExhausted, kNoRoom},
    {TPM2_RC_SESSION_MEMORY, absl::StatusCode::kResourceExhausted, kNoRoom},
    {TPM2_RC_SESSION_HANDLES, absl::StatusCode::kResourceExhausted, kNoRoom},
    {TPM2_RC_CONTEXT_GAP, absl::StatusCode::kResourceExhausted, kNoRoom},
    {TPM2_RC_MEMORY, absl::StatusCode::kResourceExhausted, kNoRoom},
    {TPM2_RC_RETRY, absl::StatusCode::kUnavailable, kTryAgain},
    {TPM2_RC_YIELDED, absl::StatusCode::kUnavailable, kTryAgain},
    {TPM2_RC_TESTING, absl::StatusCode::kUnavailable, kTryAgain},
    {TPM2_RC_CANCELED, absl::StatusCode::kUnavailable, kTryAgain},
    {TPM2_RC_NV_RATE, absl::StatusCode::kUnavailable, kTryAgain},
    {TPM2_RC_NV_UNAVAILABLE, absl::StatusCode::kUnavailable, kTryAgain},
    {TPM2_RC_LOCKOUT, absl::StatusCode::kFailedPrecondition,
     "the TPM is locked out after wrong passwords or power cuts: wait, or "
     "reset it with tpm2_dictionarylockout -c"},
    {TPM2_RC_INITIALIZE, absl::StatusCode::kFailedPrecondition,
     "the TPM was not started: have the firmware do it, or tpm2_startup -c"},
    {TPM2_RC_FAILURE, absl::StatusCode::kInternal,
     "the TPM is in failure mode: power the machine off and on"},
    {TPM2_RC_DISABLED, absl::StatusCode::kFailedPrecondition,
     "the command is disabled: look at the firmware's TPM settings"},
    {TPM2_RC_HIERARCHY, absl::StatusCode::kFailedPrecondition,
     "the endorsement hierarchy is disabled: enable it in the firmware's TPM "
     "settings"},
    {TPM2_RC_COMMAND_CODE, absl::StatusCode::kUnimplemented,
     "this TPM does not have the command"},
    {TPM2_RC_AUTH_FAIL, absl::StatusCode::kPermissionDenied, kPassword},
    {TPM2_RC_BAD_AUTH, absl::StatusCode::kPermissionDenied, kPassword},
    {TPM2_RC_AUTH_MISSING, absl::StatusCode::kPermissionDenied, kPassword},
    {TPM2_RC_POLICY_FAIL, absl::StatusCode::kPermissionDenied, kPassword},
    {TPM2_RC_INTEGRITY, absl::StatusCode::kPermissionDenied, kForeign},
    {TPM2_RC_BINDING, absl::StatusCode::kPermissionDenied, kForeign},
    {TPM2_RC_HANDLE, absl::StatusCode::kNotFound,
     "the TPM has no such object or index"},
    {TPM2_RC_REFERENCE_H0, absl::StatusCode::kUnavailable,
     "somebody flushed the object meanwhile: use the kernel's resource "
     "manager (device:/dev/tpmrm0)"},
    {TPM2_RC_REFERENCE_S0, absl::StatusCode::kUnavailable,
     "somebody flushed the session meanwhile: use the kernel's resource "
     "manager (device:/dev/tpmrm0)"},
    {TPM2_RC_HASH, absl::StatusCode::kUnimplemented, kLacks},
    {TPM2_RC_CURVE, absl::StatusCode::kUnimplemented, kLacks},
    {TPM2_RC_SCHEME, absl::StatusCode::kUnimplemented, kLacks},
    {TPM2_RC_SYMMETRIC, absl::StatusCode::kUnimplemented, kLacks},
    {TPM2_RC_ASYMMETRIC, absl::StatusCode::kUnimplemented, kLacks},
    {TPM2_RC_KEY_SIZE, absl::StatusCode::kUnimplemented, kLacks},
    {TPM2_RC_NV_UNINITIALIZED, absl::StatusCode::kNotFound,
     "nothing was ever written to the index"},
    {TPM2_RC_NV_LOCKED, absl::StatusCode::kPermissionDenied,
     "the index is locked until the next boot"},
    {TPM2_RC_NV_AUTHORIZATION, absl::StatusCode::kPermissionDenied,
     "the index may not be read with an empty password"},
    {TPM2_RC_LOCALITY, absl::StatusCode::kPermissionDenied,
     "the PCR can't be extended from here"},
};

uint32_t Layer(uint32_t code) { return code & TSS2_RC_LAYER_MASK; }

// True if the TPM itself, or a resource manager in its name, says so.
bool IsTpms(uint32_t code) {
  return Layer(code) == TSS2_TPM_RC_LAYER ||
         Layer(code) == TSS2_RESMGR_TPM_RC_LAYER;
}

// The TPM's code without layer and, in format one, without the number of
// handle, parameter or session.
uint32_t Base(uint32_t code) {
  const uint32_t own = code & ~TSS2_RC_LAYER_MASK;
  constexpr uint32_t kFormatOneError = TPM2_RC_FMT1 | 0x3f;
  return (own & TPM2_RC_FMT1) != 0 ? own & kFormatOneError : own;
}

Meaning MeaningOf(uint32_t code) {
  if (IsTpms(code)) {
    for (const Meaning& meaning : kMeanings) {
      if (meaning.code == Base(code)) return meaning;
    }
    return {code, absl::StatusCode::kInternal, ""};
  }
  if (BreaksContext(code)) {
    return {code, absl::StatusCode::kUnavailable, kUnreachable};
  }
  return {code, absl::StatusCode::kInternal, ""};
}

}  // namespace

bool IsBusy(uint32_t code) {
  if (!IsTpms(code)) return false;
  switch (Base(code)) {
    case TPM2_RC_RETRY:
    case TPM2_RC_YIELDED:
    case TPM2_RC_TESTING:
    case TPM2_RC_NV_RATE:
    case TPM2_RC_NV_UNAVAILABLE:
      return true;
    default:
      return false;
  }
}

bool BreaksContext(uint32_t code) {
  if (Layer(code) == TSS2_TCTI_RC_LAYER ||
      Layer(code) == TSS2_RESMGR_RC_LAYER) {
    return true;
  }
  if (Layer(code) != TSS2_ESAPI_RC_LAYER && Layer(code) != TSS2_SYS_RC_LAYER) {
    return false;
  }
  switch (code & ~TSS2_RC_LAYER_MASK) {
    case TSS2_BASE_RC_GENERAL_FAILURE:
    case TSS2_BASE_RC_BAD_SEQUENCE:
    case TSS2_BASE_RC_IO_ERROR:
    case TSS2_BASE_RC_NO_CONNECTION:
    case TSS2_BASE_RC_TRY_AGAIN:
    case TSS2_BASE_RC_MALFORMED_RESPONSE:
    case TSS2_BASE_RC_INSUFFICIENT_RESPONSE:
      return true;
    default:
      return false;
  }
}

absl::Status StatusFromReturnCode(uint32_t code, absl::string_view command) {
  if (code == TSS2_RC_SUCCESS) return absl::OkStatus();
  const Meaning meaning = MeaningOf(code);
  std::string message = absl::StrCat(command, ": ", Tss2_RC_Decode(code),
                                     " (0x", absl::Hex(code), ")");
  if (*meaning.cure != '\0') absl::StrAppend(&message, "; ", meaning.cure);
  return absl::Status(meaning.status, message);
}

}  // namespace cupel::agent
