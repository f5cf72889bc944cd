#include "agent/ima_emulator/ima_emulator.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/hasher.h"
#include "common/ima/boot_aggregate.h"
#include "common/ima/template.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/bytes.h"
#include "common/util/errno_status.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::ima::kImaPcr;

constexpr char kTemplate[] = "ima-ng";

// flock's lock on a descriptor, held as long as this.
class FileLock {
 public:
  static absl::StatusOr<FileLock> Take(int fd, const std::string& path) {
    while (flock(fd, LOCK_EX) != 0) {
      if (errno != EINTR) return ErrnoStatus(errno, path);
    }
    return FileLock(fd);
  }
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock() {
    if (fd_ >= 0) flock(fd_, LOCK_UN);
  }

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

void AppendLe32(std::vector<uint8_t>& out, size_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<uint8_t>(value >> shift));
  }
}

void AppendField(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  AppendLe32(out, bytes.size());
  Append(out, bytes);
}

// d-ng and n-ng: Linux security/integrity/ima/ima_template_lib.c.
std::vector<uint8_t> TemplateData(const Digest& digest,
                                  absl::string_view path) {
  std::vector<uint8_t> field = ToVector(AsBytes(
      absl::StrCat(crypto::HashAlgorithmName(digest.algorithm()), ":")));
  field.push_back(0);
  Append(field, digest.bytes());
  std::vector<uint8_t> data;
  AppendField(data, field);
  field = ToVector(AsBytes(path));
  field.push_back(0);
  AppendField(data, field);
  return data;
}

std::vector<uint8_t> Record(std::span<const uint8_t> template_data) {
  std::vector<uint8_t> record;
  AppendLe32(record, kImaPcr);
  const Digest digest = crypto::Hash(HashAlgorithm::kSha1, template_data);
  Append(record, digest.bytes());
  AppendField(record, AsBytes(kTemplate));
  AppendField(record, template_data);
  return record;
}

absl::StatusOr<Digest> HashFile(const std::string& path) {
  constexpr size_t kChunk = size_t{1} << 18;
  CUPEL_ASSIGN_OR_RETURN(auto hasher,
                         crypto::Hasher::Create(HashAlgorithm::kSha256));
  CUPEL_RETURN_IF_ERROR(ReadFileInChunks(
      path, kChunk,
      [&](std::span<const uint8_t> chunk) { return hasher.Update(chunk); }));
  return hasher.Finish();
}

absl::StatusOr<std::string> RealPath(const std::string& path) {
  char* const resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return ErrnoStatus(errno, path);
  std::string result(resolved);
  std::free(resolved);
  return result;
}

// What execvp(3) would execute.
absl::StatusOr<std::string> FindProgram(const std::string& command) {
  if (command.find('/') != std::string::npos) return RealPath(command);
  const char* const path = std::getenv("PATH");
  const std::vector<std::string> folders =
      absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':');
  for (const std::string& folder : folders) {
    const std::string candidate =
        absl::StrCat(folder.empty() ? "." : folder, "/", command);
    struct stat info = {};
    if (stat(candidate.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
        access(candidate.c_str(), X_OK) == 0) {
      return RealPath(candidate);
    }
  }
  return absl::NotFoundError(
      absl::StrCat(EscapeForDisplay(command), ": no such program in PATH"));
}

// The interpreter that the first line of a script names; nullopt for a file
// that is no script (Linux fs/binfmt_script.c).
absl::StatusOr<std::optional<std::string>> Interpreter(
    const std::string& path) {
  constexpr size_t kHeadSize = 256;  // BINPRM_BUF_SIZE
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, path);
  std::string head(kHeadSize, '\0');
  const ssize_t got = read(fd, head.data(), head.size());
  const int error = errno;
  close(fd);
  if (got < 0) return ErrnoStatus(error, path);
  head.resize(static_cast<size_t>(got));
  if (head.substr(0, 2) != "#!") return std::nullopt;
  const std::string line = head.substr(2, head.find('\n') - 2);
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos) return std::nullopt;
  const size_t end = line.find_first_of(" \t", begin);
  return line.substr(begin, end == std::string::npos ? end : end - begin);
}

// The bank that the kernel makes boot_aggregate from: ima_calc_boot_aggregate()
// in Linux security/integrity/ima/ima_crypto.c.
std::optional<HashAlgorithm> BootAggregateBank(
    std::span<const HashAlgorithm> banks) {
  for (const HashAlgorithm bank :
       {HashAlgorithm::kSha256, HashAlgorithm::kSha1}) {
    if (std::ranges::find(banks, bank) != banks.end()) return bank;
  }
  return std::nullopt;
}

}  // namespace

ImaEmulator::ImaEmulator(Tpm& tpm, std::string list_path, int list,
                         std::vector<HashAlgorithm> banks,
                         ima::Replayer at_start)
    : tpm_(tpm),
      list_path_(std::move(list_path)),
      list_(list),
      banks_(std::move(banks)),
      at_start_(at_start),
      parser_(ima::ListOptions{}),
      replayer_(at_start),
      before_last_(at_start) {}

ImaEmulator::~ImaEmulator() { close(list_); }

absl::StatusOr<std::unique_ptr<ImaEmulator>> ImaEmulator::Open(
    Tpm& tpm, const std::string& list_path) {
  CUPEL_ASSIGN_OR_RETURN(std::vector<HashAlgorithm> banks,
                         tpm.AllocatedBanks());
  std::vector<ima::Bank> replayed;
  for (const HashAlgorithm bank : banks) {
    if (crypto::IsReplayBank(bank)) replayed.push_back({.algorithm = bank});
  }
  if (replayed.empty()) {
    return absl::FailedPreconditionError(
        "the TPM has no SHA-1 or SHA-2 bank: allocate one with "
        "tpm2_pcrallocate and restart it");
  }
  CUPEL_ASSIGN_OR_RETURN(ima::Replayer replayer,
                         ima::Replayer::Create(std::move(replayed)));
  // Everybody may read it: an agent of another user does.
  const int list =
      open(list_path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (list < 0) return ErrnoStatus(errno, list_path);
  std::unique_ptr<ImaEmulator> emulator(new ImaEmulator(
      tpm, list_path, list, std::move(banks), std::move(replayer)));
  CUPEL_ASSIGN_OR_RETURN(const FileLock lock, FileLock::Take(list, list_path));
  CUPEL_RETURN_IF_ERROR(emulator->CatchUp());
  return emulator;
}

// To be called with the lock held: afterwards list, PCRs and this object agree,
// and the list starts with boot_aggregate.
absl::Status ImaEmulator::CatchUp() {
  CUPEL_RETURN_IF_ERROR(ReadNewEntries());
  CUPEL_RETURN_IF_ERROR(MatchPcr());
  if (parser_.entry_count() != 0) return absl::OkStatus();
  return StartList();
}

void ImaEmulator::Forget() {
  parser_ = ima::ListParser(ima::ListOptions{});
  replayer_ = at_start_;
  before_last_ = at_start_;
  last_data_.clear();
  measured_.clear();
}

absl::Status ImaEmulator::ReadNewEntries() {
  constexpr size_t kPiece = size_t{1} << 16;
  struct stat info = {};
  if (fstat(list_, &info) != 0) return ErrnoStatus(errno, list_path_);
  if (static_cast<uint64_t>(info.st_size) < parser_.byte_offset()) Forget();
  const auto sink = [&](std::span<const ima::Entry> entries) {
    for (const ima::Entry& entry : entries) {
      before_last_ = replayer_;
      replayer_.Extend({&entry, 1});
      last_data_ = ToVector(entry.template_data);
      const auto fields = ima::ParseFields(entry);
      if (fields.ok() && fields->digest.has_value()) {
        measured_.emplace(std::string(fields->path),
                          std::string(AsText(fields->digest->bytes)));
      }
    }
    return absl::OkStatus();
  };
  std::vector<uint8_t> piece(kPiece);
  uint64_t offset = parser_.byte_offset();
  while (true) {
    const ssize_t got =
        pread(list_, piece.data(), piece.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, list_path_);
    }
    if (got == 0) break;
    offset += static_cast<uint64_t>(got);
    const absl::Status status =
        parser_.Feed(std::span(piece).first(static_cast<size_t>(got)), sink);
    if (!status.ok()) {
      return WithContext(status, EscapeForDisplay(list_path_));
    }
  }
  if (offset == parser_.byte_offset()) return absl::OkStatus();
  // Somebody was killed while writing: nothing was extended for it.
  if (ftruncate(list_, static_cast<off_t>(parser_.byte_offset())) != 0) {
    return ErrnoStatus(errno, list_path_);
  }
  ima::ListOptions rest;
  rest.first_index = parser_.entry_count();
  rest.first_offset = parser_.byte_offset();
  parser_ = ima::ListParser(rest);
  return absl::OkStatus();
}

absl::StatusOr<bool> ImaEmulator::PcrsAre(const ima::Replayer& replayer) {
  std::vector<tpm::BankSelection> banks;
  for (const ima::Bank& bank : replayer.banks()) {
    banks.push_back({bank.algorithm, 1u << kImaPcr});
  }
  CUPEL_ASSIGN_OR_RETURN(const auto selection,
                         tpm::PcrSelection::Create(std::move(banks)));
  CUPEL_ASSIGN_OR_RETURN(const auto values, tpm_.ReadPcrs(selection));
  return std::ranges::all_of(replayer.banks(), [&](const ima::Bank& bank) {
    const Digest* const value = values.Find(bank.algorithm, kImaPcr);
    return value != nullptr &&
           *value == replayer.Value(bank.algorithm, kImaPcr);
  });
}

absl::Status ImaEmulator::MatchPcr() {
  CUPEL_ASSIGN_OR_RETURN(const bool match, PcrsAre(replayer_));
  if (match) return absl::OkStatus();
  if (parser_.entry_count() != 0) {
    CUPEL_ASSIGN_OR_RETURN(const bool last_is_missing, PcrsAre(before_last_));
    if (last_is_missing) return Extend(last_data_);
    CUPEL_ASSIGN_OR_RETURN(const bool reset, PcrsAre(at_start_));
    if (reset) {
      if (ftruncate(list_, 0) != 0) return ErrnoStatus(errno, list_path_);
      Forget();
      return absl::OkStatus();
    }
  }
  return absl::FailedPreconditionError(absl::StrCat(
      EscapeForDisplay(list_path_),
      ": PCR 10 of the TPM is not what this list gives: the TPM has another "
      "list, or somebody extended PCR 10; restart the TPM and remove the "
      "list"));
}

absl::Status ImaEmulator::StartList() {
  Digest digest(HashAlgorithm::kSha256);
  if (const auto bank = BootAggregateBank(banks_)) {
    constexpr uint32_t kBootPcrs = 0x3ff;
    CUPEL_ASSIGN_OR_RETURN(const auto selection,
                           tpm::PcrSelection::Create({{*bank, kBootPcrs}}));
    CUPEL_ASSIGN_OR_RETURN(const auto values, tpm_.ReadPcrs(selection));
    CUPEL_ASSIGN_OR_RETURN(
        digest,
        ima::ComputeBootAggregate(
            *bank,
            [&](HashAlgorithm of, uint32_t pcr) -> std::optional<Digest> {
              const Digest* const value = values.Find(of, pcr);
              return value == nullptr ? std::nullopt : std::optional(*value);
            }));
  }
  return AddEntry(digest, "boot_aggregate");
}

absl::Status ImaEmulator::AddEntry(const Digest& digest,
                                   absl::string_view path) {
  const std::vector<uint8_t> data = TemplateData(digest, path);
  const std::vector<uint8_t> record = Record(data);
  ssize_t written = 0;
  do {
    written = write(list_, record.data(), record.size());
  } while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(record.size())) {
    const int error = written < 0 ? errno : ENOSPC;
    // What is left of it the next reader removes, should this not.
    if (ftruncate(list_, static_cast<off_t>(parser_.byte_offset())) != 0) {
      return ErrnoStatus(errno, list_path_);
    }
    return ErrnoStatus(error, list_path_);
  }
  CUPEL_RETURN_IF_ERROR(Extend(data));
  return ReadNewEntries();
}

// As ima_pcr_extend() of Linux security/integrity/ima/ima_queue.c: each bank by
// its own hash, one that the kernel can't compute by the padded SHA-1 digest.
absl::Status ImaEmulator::Extend(std::span<const uint8_t> template_data) {
  std::vector<Digest> values;
  for (const HashAlgorithm bank : banks_) {
    if (crypto::IsReplayBank(bank)) {
      values.push_back(crypto::Hash(bank, template_data));
      continue;
    }
    Digest padded(bank);
    const Digest sha1 = crypto::Hash(HashAlgorithm::kSha1, template_data);
    std::ranges::copy(sha1.bytes(), padded.mutable_bytes().begin());
    values.push_back(padded);
  }
  return tpm_.ExtendPcr(kImaPcr, values);
}

absl::StatusOr<bool> ImaEmulator::MeasureFile(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const std::string real_path, RealPath(path));
  CUPEL_ASSIGN_OR_RETURN(const Digest digest, HashFile(real_path));
  CUPEL_ASSIGN_OR_RETURN(const FileLock lock,
                         FileLock::Take(list_, list_path_));
  CUPEL_RETURN_IF_ERROR(CatchUp());
  if (measured_.contains({real_path, std::string(AsText(digest.bytes()))})) {
    return false;
  }
  CUPEL_RETURN_IF_ERROR(AddEntry(digest, real_path));
  return true;
}

absl::StatusOr<std::string> ImaEmulator::MeasureCommand(
    const std::string& command) {
  constexpr int kMaxDepth = 5;
  CUPEL_ASSIGN_OR_RETURN(const std::string program, FindProgram(command));
  std::string file = program;
  for (int depth = 0; depth <= kMaxDepth; ++depth) {
    CUPEL_RETURN_IF_ERROR(MeasureFile(file).status());
    CUPEL_ASSIGN_OR_RETURN(const std::optional<std::string> interpreter,
                           Interpreter(file));
    if (!interpreter.has_value()) return program;
    file = *interpreter;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(EscapeForDisplay(program),
                   ": more than five scripts interpret one another"));
}

absl::StatusOr<int> RunProgram(const std::string& program,
                               const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), nullptr, nullptr,
                                argv.data(), environ);
  if (error != 0) return ErrnoStatus(error, program);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, program);
  }
  constexpr int kSignalBase = 128;
  return WIFSIGNALED(status) ? kSignalBase + WTERMSIG(status)
                             : WEXITSTATUS(status);
}

}  // namespace cupel::agent
