#ifndef CUPEL_AGENT_DOCTOR_USER_ACCESS_H_
#define CUPEL_AGENT_DOCTOR_USER_ACCESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace cupel::agent {

// True if the machine's user `user` may open `path` for reading, and with
// `write` for writing too; found out by a child process that becomes that user
// (BecomeUser), and so decided by the kernel with all its rules.
//
// kNotFound if there is no such user; kUnavailable if the child can't become
// that user, which needs root, or can't be started. The process must have one
// thread.
absl::StatusOr<bool> MayOpen(const std::string& user, const std::string& path,
                             bool write);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_USER_ACCESS_H_
