#ifndef CUPEL_AGENT_ATTESTER_LIST_SOURCE_H_
#define CUPEL_AGENT_ATTESTER_LIST_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace cupel::agent {

// The measurement list as the kernel writes it: it only grows, and whole
// entries at a time.
class ListSource {
 public:
  virtual ~ListSource() = default;

  // The number of entries. Asked many times a second: cheap.
  virtual absl::StatusOr<uint64_t> EntryCount() = 0;

  // The list's bytes from `offset` on, at most `max_size` of them. Fewer only
  // where the list ends at present; none from its end on. A source whose reads
  // fall short before the end reads on by itself.
  virtual absl::StatusOr<std::vector<uint8_t>> ReadFrom(uint64_t offset,
                                                        size_t max_size) = 0;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ATTESTER_LIST_SOURCE_H_
