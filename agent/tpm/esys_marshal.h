// Cupel's types to ESYS's structures and back, by way of their marshalled
// bytes; for this folder alone.
#ifndef CUPEL_AGENT_TPM_ESYS_MARSHAL_H_
#define CUPEL_AGENT_TPM_ESYS_MARSHAL_H_

#include <tss2/tss2_mu.h>
#include <tss2/tss2_tpm2_types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/tpm/return_code.h"
#include "common/util/status_macros.h"

namespace cupel::agent {

// Whole `bytes` as a T; kInvalidArgument, naming `what`, if they are no such
// structure or more than one. `unmarshal` is Tss2_MU_T_Unmarshal.
template <typename T, typename Unmarshal>
absl::StatusOr<T> FromBytes(std::span<const uint8_t> bytes, Unmarshal unmarshal,
                            absl::string_view what) {
  T value = {};
  size_t offset = 0;
  const uint32_t code = unmarshal(bytes.data(), bytes.size(), &offset, &value);
  if (code != TSS2_RC_SUCCESS) {
    return absl::InvalidArgumentError(
        StatusFromReturnCode(code, what).message());
  }
  if (offset != bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", bytes.size() - offset, " bytes left over"));
  }
  return value;
}

// `value` as the TPM marshals it. `marshal` is Tss2_MU_T_Marshal.
template <typename T, typename Marshal>
absl::StatusOr<std::vector<uint8_t>> ToBytes(const T& value, Marshal marshal,
                                             absl::string_view what) {
  // Larger than any structure that a TPM command can carry.
  std::array<uint8_t, 8192> buffer;
  size_t offset = 0;
  CUPEL_RETURN_IF_ERROR(StatusFromReturnCode(
      marshal(&value, buffer.data(), buffer.size(), &offset), what));
  return std::vector<uint8_t>(
      buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_ESYS_MARSHAL_H_
