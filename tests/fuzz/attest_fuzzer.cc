#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/tpm/attest.h"
#include "common/util/bytes.h"

// What parses serializes to the same bytes, but for sizeofSelect 4, which is
// written as 3: then it is shorter, and parses to the same again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  const auto attest = cupel::tpm::ParseAttest(input);
  if (!attest.ok()) return 0;
  const auto serialized = cupel::tpm::SerializeAttest(*attest);
  if (serialized.size() > size) std::abort();
  if (serialized.size() == size &&
      cupel::AsText(serialized) != cupel::AsText(input)) {
    std::abort();
  }
  const auto again = cupel::tpm::ParseAttest(serialized);
  if (!again.ok() || !(*again == *attest)) std::abort();
  return 0;
}
