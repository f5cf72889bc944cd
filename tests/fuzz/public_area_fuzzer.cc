#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/tpm/attestation_key.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"

// What parses serializes to the same bytes, as a file it parses to the same,
// and only one of the two forms of a file can be right.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  const auto plain = cupel::tpm::ParsePublicArea(input);
  const auto sized = cupel::tpm::ParseTpm2bPublic(input);
  const auto file = cupel::tpm::ParsePublicFile(input);
  if (plain.ok() && sized.ok()) std::abort();
  if (file.ok() != (plain.ok() || sized.ok())) std::abort();
  if (plain.ok()) {
    const auto serialized = plain->Serialize();
    if (cupel::AsText(serialized) != cupel::AsText(input)) std::abort();
    if (!(*file == *plain)) std::abort();
  }
  if (file.ok()) {
    if (!cupel::tpm::QualifiedName({}, file->Name()).ok()) std::abort();
    static_cast<void>(cupel::tpm::ValidateAkAttributes(*file));
  }
  static_cast<void>(cupel::tpm::AttestationKey::FromFile(input));
  return 0;
}
