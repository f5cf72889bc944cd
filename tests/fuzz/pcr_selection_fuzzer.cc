#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/tpm/pcr_selection.h"
#include "common/util/bytes.h"

using cupel::tpm::PcrSelection;

// Bytes and text both come back to the same selection.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  for (const auto& selection :
       {PcrSelection::Parse(input),
        PcrSelection::FromString(cupel::AsText(input))}) {
    if (!selection.ok()) continue;
    const auto bytes = PcrSelection::Parse(selection->Serialize());
    if (!bytes.ok() || !(*bytes == *selection)) std::abort();
    if (selection->banks().empty()) continue;
    const auto text = PcrSelection::FromString(selection->ToString());
    if (!text.ok() || !(*text == *selection)) std::abort();
  }
  return 0;
}
