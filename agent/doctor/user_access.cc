#include "agent/doctor/user_access.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "common/util/user.h"

namespace cupel::agent {
namespace {

enum Answer : int { kYes = 0, kNo = 1, kNotThatUser = 2 };

[[noreturn]] void AnswerAs(const std::string& user, const std::string& path,
                           bool write) {
  if (!BecomeUser(user).ok()) _exit(kNotThatUser);
  _exit(access(path.c_str(), write ? R_OK | W_OK : R_OK) == 0 ? kYes : kNo);
}

}  // namespace

absl::StatusOr<bool> MayOpen(const std::string& user, const std::string& path,
                             bool write) {
  CUPEL_RETURN_IF_ERROR(FindUser(user).status());
  const pid_t child = fork();
  if (child < 0) {
    return absl::UnavailableError(absl::StrCat("fork: ", std::strerror(errno)));
  }
  if (child == 0) AnswerAs(user, path, write);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return absl::UnavailableError(
          absl::StrCat("waitpid: ", std::strerror(errno)));
    }
  }
  if (WIFEXITED(status)) {
    if (WEXITSTATUS(status) == kYes) return true;
    if (WEXITSTATUS(status) == kNo) return false;
  }
  return absl::UnavailableError(
      absl::StrCat("can't become the user ", Quoted(user), " to look"));
}

}  // namespace cupel::agent
