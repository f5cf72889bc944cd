#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/tpm/pcr_file.h"
#include "common/util/bytes.h"

using cupel::tpm::PcrFileFormat;
using cupel::tpm::PcrSelection;

// A file means the same with a selection and without, unless it is raw; and
// every value has its bank's size.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  static const PcrSelection selection =
      *PcrSelection::FromString("sha256:10+sha1:10");
  const auto alone = cupel::tpm::ParsePcrFile(input);
  const auto helped = cupel::tpm::ParsePcrFile(input, &selection);
  if (alone.ok()) {
    if (alone->format == PcrFileFormat::kRaw) std::abort();
    if (!helped.ok() || !(helped->values == alone->values)) std::abort();
  }
  if (!helped.ok()) return 0;
  if (helped->format == PcrFileFormat::kRaw &&
      !(helped->values.Selection() == selection)) {
    std::abort();
  }
  const PcrSelection found = helped->values.Selection();
  if (found.pcr_count() != helped->values.size()) std::abort();
  if (!(helped->values.Only(found) == helped->values)) std::abort();
  return 0;
}
