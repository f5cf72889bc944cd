// An AK's file that loads has no byte beside what it is read as. The input's
// checksum is put right, or no change would get past it; a wrong one is refused
// whatever stands before it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/tpm/identity.h"
#include "common/crypto/digest.h"
#include "common/tpm/ek_template.h"
#include "common/util/bytes.h"

namespace {

absl::StatusOr<cupel::agent::AkBlobs> Load(std::span<const uint8_t> bytes) {
  const int fd = memfd_create("ak", MFD_CLOEXEC);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) !=
                    static_cast<ssize_t>(bytes.size())) {
    std::abort();
  }
  auto ak = cupel::agent::LoadAk(absl::StrCat("/proc/self/fd/", fd));
  close(fd);
  return ak;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  std::vector<uint8_t> file = cupel::ToVector(input);
  const cupel::crypto::Digest checksum =
      cupel::crypto::Hash(cupel::crypto::HashAlgorithm::kSha256, input);
  cupel::Append(file, checksum.bytes());
  const auto ak = Load(file);
  file.back() ^= 1;
  if (Load(file).ok()) std::abort();
  file.back() ^= 1;
  if (!ak.ok()) return 0;

  constexpr size_t kMagicAndVersion = 8;
  constexpr size_t kSizes = 4 * sizeof(uint16_t);
  if (size != kMagicAndVersion + kSizes +
                  cupel::tpm::EkTemplateName(ak->ek_template).size() +
                  ak->ek_name.size() + ak->public_blob.size() +
                  ak->private_blob.size()) {
    std::abort();
  }
  return 0;
}
