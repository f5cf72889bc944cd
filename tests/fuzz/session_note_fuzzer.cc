// What is a session's note comes back from the text that is written for it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "agent/tpm/session_note.h"
#include "common/util/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto note =
      cupel::agent::ParseNotedSession(cupel::AsText({data, size}));
  if (!note.has_value()) return 0;
  if (note->session.has_value() && !note->beside.empty()) std::abort();
  const auto again =
      cupel::agent::ParseNotedSession(cupel::agent::ShowNotedSession(*note));
  if (again != note) std::abort();
  return 0;
}
