#include "common/util/user.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel {
namespace {

bool IsWholly(const User& user) {
  uid_t real = 0;
  uid_t effective = 0;
  uid_t saved = 0;
  gid_t real_group = 0;
  gid_t effective_group = 0;
  gid_t saved_group = 0;
  return getresuid(&real, &effective, &saved) == 0 &&
         getresgid(&real_group, &effective_group, &saved_group) == 0 &&
         real == user.uid && effective == user.uid && saved == user.uid &&
         real_group == user.gid && effective_group == user.gid &&
         saved_group == user.gid;
}

// glibc has no wrapper for capget(2).
bool HasCapabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3,
                                     .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data = {};
  if (syscall(SYS_capget, &header, data.data()) != 0) return true;
  for (const __user_cap_data_struct& word : data) {
    if ((word.effective | word.permitted) != 0) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<User> FindUser(const std::string& name) {
  passwd entry = {};
  passwd* found = nullptr;
  std::vector<char> buffer(size_t{1} << 14);
  int error = 0;
  while ((error = getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(),
                             &found)) == ERANGE) {
    buffer.resize(buffer.size() * 2);
  }
  if (found != nullptr) return User{.uid = found->pw_uid, .gid = found->pw_gid};
  if (error == 0 || error == ENOENT || error == ESRCH) {
    return absl::NotFoundError(
        absl::StrCat("there is no user ", Quoted(name), " on this machine"));
  }
  return absl::UnavailableError(
      absl::StrCat("user ", Quoted(name), ": ", std::strerror(error)));
}

absl::Status BecomeUser(const std::string& name) {
  CUPEL_ASSIGN_OR_RETURN(const User user, FindUser(name));
  const auto denied = [&](absl::string_view call) {
    return absl::PermissionDeniedError(
        absl::StrCat("can't become the user ", Quoted(name), ": ", call, ": ",
                     std::strerror(errno), "; start as root"));
  };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return denied("prctl");
  if (IsWholly(user)) return absl::OkStatus();
  if (initgroups(name.c_str(), user.gid) != 0) return denied("initgroups");
  if (setresgid(user.gid, user.gid, user.gid) != 0) return denied("setresgid");
  if (setresuid(user.uid, user.uid, user.uid) != 0) return denied("setresuid");
  if (!IsWholly(user) ||
      (user.uid != 0 && (setuid(0) == 0 || HasCapabilities()))) {
    return absl::PermissionDeniedError(absl::StrCat(
        "became the user ", Quoted(name), ", but could be root again"));
  }
  return absl::OkStatus();
}

}  // namespace cupel
