#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/tpm/signature.h"
#include "common/util/bytes.h"

// What parses serializes to the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  const auto signature = cupel::tpm::ParseSignature(input);
  if (!signature.ok()) return 0;
  const auto serialized = cupel::tpm::SerializeSignature(*signature);
  if (cupel::AsText(serialized) != cupel::AsText(input)) std::abort();
  return 0;
}
