#include "tenant/reference/file_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crypto/hasher.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {
namespace {

constexpr unsigned kMaxThreads = 16;
constexpr size_t kMaxQueued = 64;  // open descriptors that wait
constexpr size_t kChunkSize = size_t{256} << 10;
// Folders within folders; each keeps a descriptor open.
constexpr size_t kMaxDepth = 512;
constexpr uint64_t kFilesPerProgress = 64;

// Those of linux/magic.h that it does not have.
constexpr uint64_t kConfigFsMagic = 0x62656570;
constexpr uint64_t kFuseControlMagic = 0x65735543;
constexpr uint64_t kMessageQueueMagic = 0x19800202;
constexpr uint64_t kRpcPipeMagic = 0x67596969;

// A file that waits to be hashed.
struct Job {
  int fd = -1;
  std::string path;
};

// Threads that hash what they are handed, each file's descriptor at a time.
class HashPool {
 public:
  static absl::StatusOr<std::unique_ptr<HashPool>> Start(
      const FileTreeOptions& options) {
    CUPEL_RETURN_IF_ERROR(crypto::Hasher::Create(options.algorithm).status());
    auto pool = std::unique_ptr<HashPool>(new HashPool(options.algorithm));
    unsigned count = options.thread_count;
    if (count == 0) count = std::thread::hardware_concurrency();
    count = std::clamp(count, 1U, kMaxThreads);
    for (unsigned i = 0; i < count; ++i) {
      pool->threads_.emplace_back([raw = pool.get()] { raw->Work(); });
    }
    return pool;
  }
  ~HashPool() { Join(); }
  HashPool(const HashPool&) = delete;
  HashPool& operator=(const HashPool&) = delete;

  // Takes the descriptor over; waits while many are waiting.
  void Add(Job job) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return jobs_.size() < kMaxQueued; });
    jobs_.push_back(std::move(job));
    work_.notify_one();
  }

  // Waits for all of them, and hands out what came of them.
  FileTreeDigests Finish() {
    Join();
    return std::move(result_);
  }

 private:
  explicit HashPool(crypto::HashAlgorithm algorithm) : algorithm_(algorithm) {}

  void Join() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  std::optional<Job> Next() {
    std::unique_lock lock(mutex_);
    work_.wait(lock, [this] { return done_ || !jobs_.empty(); });
    if (jobs_.empty()) return std::nullopt;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    room_.notify_one();
    return job;
  }

  void Work() {
    auto hasher = crypto::Hasher::Create(algorithm_);
    std::vector<uint8_t> chunk(kChunkSize);
    while (std::optional<Job> job = Next()) {
      auto digest = hasher.ok()
                        ? HashOne(job->fd, *hasher, chunk)
                        : absl::StatusOr<crypto::Digest>(hasher.status());
      close(job->fd);
      const std::lock_guard lock(mutex_);
      if (digest.ok()) {
        result_.files.push_back({std::move(job->path), *digest});
      } else {
        result_.unreadable.push_back(
            {std::move(job->path), std::string(digest.status().message())});
      }
    }
  }

  static absl::StatusOr<crypto::Digest> HashOne(int fd, crypto::Hasher& hasher,
                                                std::vector<uint8_t>& chunk) {
    while (true) {
      const ssize_t got = read(fd, chunk.data(), chunk.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        const int error = errno;
        CUPEL_RETURN_IF_ERROR(hasher.Finish().status());  // begins anew
        return absl::UnavailableError(std::strerror(error));
      }
      if (got == 0) return hasher.Finish();
      CUPEL_RETURN_IF_ERROR(
          hasher.Update(std::span(chunk).first(static_cast<size_t>(got))));
    }
  }

  const crypto::HashAlgorithm algorithm_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable room_;
  std::deque<Job> jobs_;
  bool done_ = false;
  FileTreeDigests result_;
};

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

// Finds the files. Every name is opened in its folder's descriptor and never by
// a whole path, so that nobody who moves folders about can lead it astray.
class Walker {
 public:
  Walker(const FileTreeOptions& options, HashPool& pool)
      : options_(options), pool_(pool) {
    for (const char* path : {"/proc", "/sys", "/dev", "/run"}) {
      skipped_.emplace_back(path);
    }
    for (const std::string& path : options.skip_paths) {
      skipped_.push_back(
          absl::StrCat(absl::StartsWith(path, "/") ? "" : "/",
                       path.size() > 1 ? absl::StripSuffix(path, "/") : path));
    }
  }

  absl::Status Walk(const std::string& root);
  void AddTo(FileTreeDigests& result) && {
    std::ranges::move(unreadable_, std::back_inserter(result.unreadable));
    std::ranges::move(left_out_, std::back_inserter(result.left_out));
    result.vanished_count += vanished_count_;
  }

 private:
  struct Level {
    Folder folder;
    std::string path;  // "" for the root
    dev_t device = 0;
  };

  void Visit(const Level& level, const dirent& entry);
  void VisitFolder(const Level& level, std::string path, const char* name);
  void VisitFile(const Level& level, std::string path, const char* name);
  // Notes why `path` can't be read; a name that is gone is none.
  void Failed(std::string path, int error);

  const FileTreeOptions& options_;
  HashPool& pool_;
  std::vector<std::string> skipped_;
  std::vector<Level> levels_;
  std::vector<PathNote> unreadable_;
  std::vector<PathNote> left_out_;
  uint64_t vanished_count_ = 0;
  uint64_t file_count_ = 0;
};

absl::Status Walker::Walk(const std::string& root) {
  Folder folder(opendir(root.c_str()));
  struct stat info = {};
  if (folder == nullptr || fstat(dirfd(folder.get()), &info) != 0) {
    const std::string message =
        absl::StrCat(EscapeForDisplay(root), ": ", std::strerror(errno));
    if (errno == ENOENT) return absl::NotFoundError(message);
    if (errno == EACCES) return absl::PermissionDeniedError(message);
    return absl::InvalidArgumentError(message);
  }
  levels_.push_back({std::move(folder), "", info.st_dev});
  while (!levels_.empty()) {
    errno = 0;
    const Level& level = levels_.back();
    const dirent* const entry = readdir(level.folder.get());
    if (entry != nullptr) {
      Visit(level, *entry);
      continue;
    }
    if (errno != 0) Failed(level.path.empty() ? "/" : level.path, errno);
    levels_.pop_back();
  }
  return absl::OkStatus();
}

void Walker::Failed(std::string path, int error) {
  if (error == ENOENT || error == ENOTDIR || error == ELOOP ||
      error == ESTALE) {
    ++vanished_count_;  // or a link by now
  } else {
    unreadable_.push_back({std::move(path), std::strerror(error)});
  }
}

void Walker::Visit(const Level& level, const dirent& entry) {
  const char* const name = entry.d_name;
  if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) return;
  std::string path = absl::StrCat(level.path, "/", name);
  if (std::ranges::find(skipped_, path) != skipped_.end()) return;
  unsigned char type = entry.d_type;
  if (type == DT_UNKNOWN) {
    struct stat info = {};
    if (fstatat(dirfd(level.folder.get()), name, &info, AT_SYMLINK_NOFOLLOW) !=
        0) {
      Failed(std::move(path), errno);
      return;
    }
    type = static_cast<unsigned char>(IFTODT(info.st_mode));
  }
  if (type == DT_DIR) {
    VisitFolder(level, std::move(path), name);
  } else if (type == DT_REG) {
    VisitFile(level, std::move(path), name);
  }
}

void Walker::VisitFolder(const Level& level, std::string path,
                         const char* name) {
  const int fd = openat(dirfd(level.folder.get()), name,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    Failed(std::move(path), errno);
    return;
  }
  Folder folder(fdopendir(fd));
  struct stat info = {};
  if (folder == nullptr || fstat(fd, &info) != 0) {
    const int error = errno;
    if (folder == nullptr) close(fd);
    Failed(std::move(path), error);
    return;
  }
  if (info.st_dev != level.device) {
    struct statfs system = {};
    const char* kind_name = nullptr;
    if (fstatfs(fd, &system) != 0) {
      Failed(std::move(path), errno);
      return;
    }
    const FileSystemKind kind =
        KindOfFileSystem(static_cast<uint64_t>(system.f_type), &kind_name);
    if (kind == FileSystemKind::kRemote) {
      left_out_.push_back({std::move(path), kind_name});
      return;
    }
    if (kind != FileSystemKind::kStored) return;
  }
  if (levels_.size() >= kMaxDepth) {
    unreadable_.push_back({std::move(path), "too many folders in one another"});
    return;
  }
  levels_.push_back({std::move(folder), std::move(path), info.st_dev});
}

void Walker::VisitFile(const Level& level, std::string path, const char* name) {
  // Not blocked by what has become a pipe meanwhile.
  const int fd =
      openat(dirfd(level.folder.get()), name,
             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) {
    Failed(std::move(path), errno);
    return;
  }
  struct stat info = {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    ++vanished_count_;
    return;
  }
  pool_.Add({fd, std::move(path)});
  if (++file_count_ % kFilesPerProgress == 0 && options_.progress) {
    options_.progress(file_count_);
  }
}

}  // namespace

FileSystemKind KindOfFileSystem(uint64_t magic, const char** name) {
  const auto remote = [name](const char* text) {
    if (name != nullptr) *name = text;
    return FileSystemKind::kRemote;
  };
  switch (magic) {
    case NFS_SUPER_MAGIC:
      return remote("nfs");
    case SMB_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
      return remote("cifs");
    case FUSE_SUPER_MAGIC:
      return remote("fuse");
    case CEPH_SUPER_MAGIC:
      return remote("ceph");
    case AFS_SUPER_MAGIC:
    case AFS_FS_MAGIC:
      return remote("afs");
    case CODA_SUPER_MAGIC:
      return remote("coda");
    case V9FS_MAGIC:
      return remote("9p");
    case AUTOFS_SUPER_MAGIC:
    case BINDERFS_SUPER_MAGIC:
    case BINFMTFS_MAGIC:
    case BPF_FS_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case EFIVARFS_MAGIC:
    case HUGETLBFS_MAGIC:
    case NSFS_MAGIC:
    case PROC_SUPER_MAGIC:
    case PSTOREFS_MAGIC:
    case RAMFS_MAGIC:
    case RDTGROUP_SUPER_MAGIC:
    case SECURITYFS_MAGIC:
    case SELINUX_MAGIC:
    case SMACK_MAGIC:
    case SYSFS_MAGIC:
    case TMPFS_MAGIC:
    case TRACEFS_MAGIC:
    case kConfigFsMagic:
    case kFuseControlMagic:
    case kMessageQueueMagic:
    case kRpcPipeMagic:
      return FileSystemKind::kSpecial;
    default:
      return FileSystemKind::kStored;
  }
}

absl::StatusOr<FileTreeDigests> HashFileTree(const std::string& root,
                                             const FileTreeOptions& options) {
  CUPEL_ASSIGN_OR_RETURN(const auto pool, HashPool::Start(options));
  Walker walker(options, *pool);
  CUPEL_RETURN_IF_ERROR(walker.Walk(root));
  FileTreeDigests result = pool->Finish();
  std::move(walker).AddTo(result);
  std::ranges::sort(result.files, {}, &FileTreeDigests::File::path);
  std::ranges::sort(result.unreadable, {}, &PathNote::path);
  std::ranges::sort(result.left_out, {}, &PathNote::path);
  return result;
}

}  // namespace cupel::tenant
