// What tells one state of a file from another.
#ifndef CUPEL_VERIFIER_PKI_FILE_VERSION_H_
#define CUPEL_VERIFIER_PKI_FILE_VERSION_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace cupel::verifier {

// Differs as soon as another file has the name, or this one was written to.
struct FileVersion {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};

// Of what `path` leads to, at the price of one stat(). nullopt, with errno set,
// where that can't be looked at.
std::optional<FileVersion> VersionOfFile(const std::string& path);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_FILE_VERSION_H_
