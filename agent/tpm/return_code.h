// What a return code of the TPM software stack means.
#ifndef CUPEL_AGENT_TPM_RETURN_CODE_H_
#define CUPEL_AGENT_TPM_RETURN_CODE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cupel::agent {

// The status of a TSS2_RC (TCG TSS 2.0 Overview, 3; TPM 2.0 Part 2, 6.6) that
// `command` ("TPM2_Quote") returned: OK for 0. The message has the command, the
// stack's own words, the code in hex, and what to do about it. A code that
// Cupel does not know is kInternal.
absl::Status StatusFromReturnCode(uint32_t code, absl::string_view command);

// True if the TPM only asks to be asked again in a moment: TPM_RC_RETRY,
// YIELDED, TESTING, NV_RATE, NV_UNAVAILABLE.
bool IsBusy(uint32_t code);

// True if the connection to the TPM can't be used any more: whatever follows
// would fail too, with TSS2_ESYS_RC_BAD_SEQUENCE (0x70007) for instance.
bool BreaksContext(uint32_t code);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_RETURN_CODE_H_
