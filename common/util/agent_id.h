// The id of an attested machine.
#ifndef CUPEL_COMMON_UTIL_AGENT_ID_H_
#define CUPEL_COMMON_UTIL_AGENT_ID_H_

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel {

// A UUID (RFC 4122) in its one canonical form: 16 bytes, as text lower-case
// with hyphens. Version and variant are not looked at: users choose such ids by
// hand.
class AgentId {
 public:
  // Parses "d432fbb3-d2f1-4a97-9ef7-75bd81c00000", in either case. Errors:
  // kInvalidArgument for any other form, and for the id of zeros.
  static absl::StatusOr<AgentId> Parse(absl::string_view text);

  // Takes 16 bytes. Errors as Parse.
  static absl::StatusOr<AgentId> FromBytes(std::span<const uint8_t> bytes);

  std::span<const uint8_t> bytes() const { return bytes_; }
  std::string ToString() const;

  friend auto operator<=>(const AgentId&, const AgentId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const AgentId& id) {
    return H::combine(std::move(h), id.bytes_);
  }

 private:
  AgentId() = default;
  std::array<uint8_t, 16> bytes_{};
};

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_AGENT_ID_H_
