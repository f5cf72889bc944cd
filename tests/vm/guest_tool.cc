// Runs in the guest: executes a copy of itself from places that have no name of
// their own. Linked statically: the guest has no library of it.
//
//   guest-tool nothing            does nothing, with success
//   guest-tool memfd NAME         from a memfd of that name
//   guest-tool tmpfile FOLDER     from a file that was made with O_TMPFILE
//   guest-tool deleted FILE       from FILE, which is deleted first
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

// Copies this program into `to`.
bool CopySelf(int to) {
  const int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (from < 0) return false;
  ssize_t sent = 0;
  do {
    sent = sendfile(to, from, nullptr, size_t{1} << 20);
  } while (sent > 0);
  close(from);
  return sent == 0;
}

// What is open for writing can't be executed.
int ReopenForReading(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  const int again = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  close(descriptor);
  return again;
}

int Open(const char* what, const char* where) {
  if (std::strcmp(what, "deleted") == 0) {
    const int file = open(where, O_RDONLY | O_CLOEXEC);
    unlink(where);
    return file;
  }
  const int file = std::strcmp(what, "memfd") == 0
                       ? memfd_create(where, MFD_CLOEXEC)
                       : open(where, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
  if (file < 0 || !CopySelf(file)) return -1;
  return ReopenForReading(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "nothing") == 0) return 0;
  if (argc != 3) return 2;
  const int file = Open(argv[1], argv[2]);
  if (file < 0) {
    std::perror(argv[1]);
    return 1;
  }
  char name[] = "guest-tool";
  char nothing[] = "nothing";
  char* const arguments[] = {name, nothing, nullptr};
  char* const environment[] = {nullptr};
  fexecve(file, arguments, environment);
  std::perror("fexecve");
  return 1;
}
