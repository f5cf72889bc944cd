// An id has one text and one row of bytes: whatever is taken comes back to it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "common/util/agent_id.h"
#include "common/util/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = cupel::AsText({data, size});
  if (const auto id = cupel::AgentId::Parse(text); id.ok()) {
    if (id->ToString() != absl::AsciiStrToLower(text)) std::abort();
    const auto again = cupel::AgentId::FromBytes(id->bytes());
    if (!again.ok() || !(*again == *id)) std::abort();
  }
  if (const auto id = cupel::AgentId::FromBytes({data, size}); id.ok()) {
    const auto again = cupel::AgentId::Parse(id->ToString());
    if (!again.ok() || !(*again == *id)) std::abort();
  }
  return 0;
}
