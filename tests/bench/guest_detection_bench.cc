// How long it takes from an evil script's start on a real kernel until its
// machine is FAILED, stored and told to whoever watches: the three programs,
// and a guest under QEMU's emulation with a software TPM.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tests/bench/percentile.h"
#include "tests/support/run_command.h"
#include "tests/vm/lab.h"

ABSL_FLAG(uint32_t, runs, 30, "How often an evil script is run");

namespace cupel::vm {
namespace {

constexpr absl::Duration kStepTimeout = absl::Seconds(120);
constexpr size_t kMaxLogSize = size_t{16} << 20;

// What `cupel-tenant watch` has said, line by line.
class WatchLog {
 public:
  explicit WatchLog(std::string path) : path_(std::move(path)) {}

  // When the next event with that state came; what is before it is dropped.
  absl::StatusOr<absl::Time> Await(const std::string& state) {
    const std::string wanted = absl::StrCat("\"state\":\"", state, "\"");
    const absl::Time give_up = absl::Now() + kStepTimeout;
    while (absl::Now() < give_up) {
      const auto log = ReadFile(path_, kMaxLogSize);
      const absl::Time now = absl::Now();
      const absl::string_view text =
          log.ok() ? AsText(*log).substr(read_) : absl::string_view();
      const size_t end = text.find('\n');
      if (end == absl::string_view::npos) {
        std::this_thread::sleep_for(std::chrono::microseconds(500));
        continue;
      }
      read_ += end + 1;
      if (absl::StrContains(text.substr(0, end), wanted)) return now;
    }
    return absl::DeadlineExceededError(
        absl::StrCat("the machine is not ", state, " in time"));
  }

 private:
  const std::string path_;
  size_t read_ = 0;
};

absl::StatusOr<absl::Duration> Detect(Lab& lab, WatchLog& events,
                                      uint32_t run) {
  const std::string evil = absl::StrCat("/root/evil_", run, ".sh");
  CUPEL_RETURN_IF_ERROR(
      lab.machine()
          .Do(absl::StrCat("printf '#!/bin/sh\\necho ", run, "\\n' >", evil,
                           "; chmod +x ", evil))
          .status());
  const absl::Time begin = absl::Now();
  CUPEL_RETURN_IF_ERROR(lab.machine().Send(evil));
  CUPEL_ASSIGN_OR_RETURN(const absl::Time seen, events.Await("FAILED"));
  // "... --accept FINDING --reason WHY".
  CUPEL_ASSIGN_OR_RETURN(const testing::CommandResult explained,
                         lab.Tenant({"explain", kAgentId}));
  const std::vector<std::string> parts =
      absl::StrSplit(explained.out, absl::ByString(" --accept "));
  const std::string finding =
      parts.back().substr(0, parts.back().find(" --reason"));
  CUPEL_ASSIGN_OR_RETURN(
      const testing::CommandResult accepted,
      lab.Tenant({"reactivate", kAgentId, "--accept", finding, "--reason",
                  "it was a benchmark's"}));
  if (accepted.exit_code != 0) return absl::InternalError(accepted.err);
  CUPEL_RETURN_IF_ERROR(events.Await("TRUSTED").status());
  return seen - begin;
}

absl::Status Run(uint32_t runs) {
  testing::CommandOptions slow;
  slow.timeout = std::chrono::minutes(5);
  CUPEL_ASSIGN_OR_RETURN(
      const testing::CommandResult images,
      testing::RunCommand(
          {CUPEL_SOURCE_DIR "/tests/vm/images.sh", CUPEL_BINARY_DIR}, slow));
  if (images.exit_code != 0 && images.exit_code != 77) {
    return absl::InternalError(absl::StrCat(images.out, images.err));
  }
  CUPEL_ASSIGN_OR_RETURN(const auto lab, Lab::Create());
  CUPEL_ASSIGN_OR_RETURN(const std::string policy, lab->MakePolicy());
  CUPEL_RETURN_IF_ERROR(lab->Boot("ima_hash=sha256 ima_template=ima-ng"));
  CUPEL_RETURN_IF_ERROR(lab->LoadImaPolicy("guide.policy"));
  CUPEL_RETURN_IF_ERROR(lab->Add({"--allowlist", policy}));
  const std::string log = lab->Path("watch.log");
  CUPEL_ASSIGN_OR_RETURN(const auto watch, lab->Watch(log));
  WatchLog events(log);
  CUPEL_RETURN_IF_ERROR(lab->StartAgent());
  CUPEL_RETURN_IF_ERROR(events.Await("TRUSTED").status());

  std::vector<absl::Duration> round_trips;
  std::vector<absl::Duration> latencies;
  for (uint32_t i = 0; i < runs; ++i) {
    const absl::Time begin = absl::Now();
    CUPEL_RETURN_IF_ERROR(lab->machine().Do("true").status());
    round_trips.push_back(absl::Now() - begin);
    CUPEL_ASSIGN_OR_RETURN(const absl::Duration latency,
                           Detect(*lab, events, i));
    latencies.push_back(latency);
  }
  const auto ms = [](const std::vector<absl::Duration>& all, double part) {
    return absl::ToDoubleMilliseconds(bench::Percentile(all, part));
  };
  std::printf(
      "detection, emulated kernel   median %.0f ms, p99 %.0f ms, of %u runs\n"
      "  beside it                  a command's way into the guest and back: "
      "median %.0f ms\n",
      ms(latencies, 0.5), ms(latencies, 0.99), runs, ms(round_trips, 0.5));
  return absl::OkStatus();
}

int Main() {
  if (absl::GetFlag(FLAGS_runs) == 0) {
    std::fprintf(stderr, "guest_detection_bench: at least one run\n");
    return 2;
  }
  const absl::Status status = Run(absl::GetFlag(FLAGS_runs));
  if (status.ok()) return 0;
  std::fprintf(stderr, "guest_detection_bench: %s\n",
               status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace cupel::vm

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "How long it takes until an evil script on a real kernel is seen.");
  absl::ParseCommandLine(argc, argv);
  return cupel::vm::Main();
}
