// Makes initramfs images: archives as cpio writes them, and what compresses
// them.
#ifndef CUPEL_TESTS_SUPPORT_CPIO_BUILDER_H_
#define CUPEL_TESTS_SUPPORT_CPIO_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace cupel::testing {

// One "newc" archive.
class CpioBuilder {
 public:
  struct Entry {
    std::string name;
    std::string content;
    uint32_t mode = 0100755;
    uint32_t inode = 0;  // 0: one of its own
    uint32_t link_count = 1;
    bool with_sum = false;   // "070702"
    uint32_t wrong_sum = 0;  // what is added to the sum
  };

  CpioBuilder& Add(const Entry& entry);
  CpioBuilder& File(absl::string_view name, absl::string_view content);
  CpioBuilder& Folder(absl::string_view name);
  CpioBuilder& Symlink(absl::string_view name, absl::string_view target);

  // The archive with its trailer.
  std::string Build() const;
  // Without it.
  const std::string& entries() const { return bytes_; }

 private:
  std::string bytes_;
  uint32_t next_inode_ = 1000;
};

// Each ends the process where it can't.
std::string Gzip(absl::string_view bytes);
std::string Bzip2(absl::string_view bytes);
std::string Xz(absl::string_view bytes);
std::string Lzma(absl::string_view bytes);
std::string Zstd(absl::string_view bytes);
// The legacy frame that the kernel takes, in blocks of that many bytes.
std::string Lz4(absl::string_view bytes, size_t block_size = size_t{8} << 20);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_CPIO_BUILDER_H_
