// Does in user space what the kernel's IMA does, for machines with a software
// TPM and no IMA: demonstrations and tests. It proves nothing: whoever runs
// programs without it is not seen.
#ifndef CUPEL_AGENT_IMA_EMULATOR_IMA_EMULATOR_H_
#define CUPEL_AGENT_IMA_EMULATOR_IMA_EMULATOR_H_

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/tpm/tpm.h"
#include "common/crypto/digest.h"
#include "common/ima/entry.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"

namespace cupel::agent {

// Measures files into a list (a plain file in the form of
// binary_runtime_measurements, little-endian, template ima-ng with SHA-256) and
// extends PCR 10 in every bank.
//
// Several processes may share list and TPM: each measurement holds a lock
// (flock) on the list. The entry is written first and extended then, as by the
// kernel (Linux security/integrity/ima/ima_queue.c). What a process that was
// killed in between has left is completed by the next measurement: an entry cut
// short is removed, one that was not extended is extended. A list whose TPM was
// reset since, so that PCR 10 is zero, starts anew, as after a boot.
//
// Not thread-safe.
class ImaEmulator {
 public:
  // `tpm` must outlive this. Makes the list, which only its owner may write, if
  // it is not there; an empty one starts with boot_aggregate.
  //
  // Errors: the TPM's; kNotFound, kPermissionDenied or kUnavailable with the
  // list's path; kInvalidArgument if it is no list; kFailedPrecondition if PCR
  // 10 has another value than the list gives.
  static absl::StatusOr<std::unique_ptr<ImaEmulator>> Open(
      Tpm& tpm, const std::string& list_path);
  ~ImaEmulator();
  ImaEmulator(const ImaEmulator&) = delete;
  ImaEmulator& operator=(const ImaEmulator&) = delete;

  // Measures a file under its absolute path without links. True if that made an
  // entry, false if this path with this content is in the list already. Errors
  // as Open's, and those of reading the file.
  absl::StatusOr<bool> MeasureFile(const std::string& path);

  // Measures what execvp(3) of `command` would execute: the program, and for a
  // script its interpreter after it. Returns the program's path. kNotFound if
  // there is none; kInvalidArgument for scripts that interpret one another more
  // than five deep.
  absl::StatusOr<std::string> MeasureCommand(const std::string& command);

 private:
  ImaEmulator(Tpm& tpm, std::string list_path, int list,
              std::vector<crypto::HashAlgorithm> banks, ima::Replayer at_start);

  absl::Status CatchUp();
  absl::Status ReadNewEntries();
  absl::Status MatchPcr();
  absl::StatusOr<bool> PcrsAre(const ima::Replayer& replayer);
  void Forget();
  absl::Status StartList();
  absl::Status AddEntry(const crypto::Digest& digest, absl::string_view path);
  absl::Status Extend(std::span<const uint8_t> template_data);

  Tpm& tpm_;
  const std::string list_path_;
  const int list_;
  const std::vector<crypto::HashAlgorithm> banks_;
  const ima::Replayer at_start_;

  // The list as far as it was read, which is to the end of an entry.
  ima::ListParser parser_;
  ima::Replayer replayer_;
  ima::Replayer before_last_;  // without the last entry
  std::vector<uint8_t> last_data_;
  std::set<std::pair<std::string, std::string>> measured_;  // path, digest
};

// Runs `program` with `arguments`, the first of which is its name, and waits
// for its end. Returns its exit code, or 128 + N where signal N ended it.
// kNotFound or kPermissionDenied if it can't be started.
absl::StatusOr<int> RunProgram(const std::string& program,
                               const std::vector<std::string>& arguments);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_IMA_EMULATOR_IMA_EMULATOR_H_
