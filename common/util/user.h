#ifndef CUPEL_COMMON_UTIL_USER_H_
#define CUPEL_COMMON_UTIL_USER_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cupel {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
};

// The machine's user of that name. kNotFound if there is none; kUnavailable
// where that can't be found out.
absl::StatusOr<User> FindUser(const std::string& name);

// Makes the whole process the user `name`, with that user's groups, for good:
// real, effective and saved ids, no capabilities, and no program that it starts
// gains any (Linux prctl(2), PR_SET_NO_NEW_PRIVS). What is open stays open. The
// process of that user itself changes nothing but the last.
//
// kNotFound, kUnavailable as FindUser; kPermissionDenied if it can't become
// that user, or could become root again: the process must end then, since a
// part of it may have changed.
absl::Status BecomeUser(const std::string& name);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_USER_H_
