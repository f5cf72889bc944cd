#include "verifier/pki/file_version.h"

#include <sys/stat.h>

namespace cupel::verifier {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::optional<FileVersion> VersionOfFile(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return std::nullopt;
  return FileVersion{.device = info.st_dev,
                     .inode = info.st_ino,
                     .size = info.st_size,
                     .modified_ns = Nanoseconds(info.st_mtim),
                     .changed_ns = Nanoseconds(info.st_ctim)};
}

}  // namespace cupel::verifier
