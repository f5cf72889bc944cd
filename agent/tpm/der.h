#ifndef CUPEL_AGENT_TPM_DER_H_
#define CUPEL_AGENT_TPM_DER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace cupel::agent {

// The DER SEQUENCE, as a certificate is one, that `bytes` begin with, without
// what follows: an NV index is often larger than its certificate, and padded.
// Looks at the outermost tag and length alone (X.690, 8.1).
//
// Errors: kInvalidArgument if `bytes` begin with something else, with a length
// that is not DER's shortest form, or end before the sequence does.
absl::StatusOr<std::vector<uint8_t>> CutToDer(std::span<const uint8_t> bytes);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_DER_H_
