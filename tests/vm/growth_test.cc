// A list that grows fast while it is attested.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

// CPU seconds that the agent has used in the guest.
double AgentCpuSeconds(Lab& lab) {
  const std::string ticks = Require(lab.machine().Do(
      "read stat < /proc/$(pidof cupel-agent)/stat; set -- $stat; "
      "echo $((${14} + ${15}))"));
  uint64_t count = 0;
  REQUIRE(absl::SimpleAtoi(ticks, &count));
  return static_cast<double>(count) / 100;  // USER_HZ
}

TEST_CASE("A list that grows fast is never taken for a wrong one", "[beside]") {
  // Of tests/run.sh --long; half an hour's worth of them at most.
  const char* const wanted = std::getenv("CUPEL_VM_ENTRIES");
  const std::string count = wanted == nullptr ? "5000" : wanted;
  const std::chrono::seconds timeout(wanted == nullptr ? 240 : 1800);
  LabOptions options;
  // A file takes a block of 4 KiB, and an inode, of which mke2fs makes one for
  // each 16 KiB; 256 MiB are for the system.
  uint64_t files = 0;
  REQUIRE(absl::SimpleAtoi(count, &files));
  options.disk_megabytes = 256 + files * 20 / 1024;
  const auto lab = Require(Lab::Create(options));
  REQUIRE_THAT(lab->AddFile("/exclude.txt", "/srv/many/.*\n"), IsOk());
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_template=ima-ng"), IsOk());
  REQUIRE_THAT(lab->LoadImaRules("measure func=FILE_CHECK mask=MAY_READ "
                                 "fowner=1000\nmeasure func=BPRM_CHECK\n"
                                 "measure func=MMAP_CHECK mask=MAY_EXEC"),
               IsOk());
  REQUIRE_THAT(lab->Add({"--allowlist", policy, "--exclude",
                         lab->RootPath("/exclude.txt")}),
               IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());

  const double before = AgentCpuSeconds(*lab);
  const std::string took = Require(lab->machine().Do(
      absl::StrCat(
          "set -e; mkdir -p /srv/many; cd /srv/many; read s _ < /proc/uptime; "
          "i=0; while [ $i -lt ",
          count,
          " ]; do echo $i > f$i; i=$((i+1)); done; "
          "chown -R 1000 .; i=0; while [ $i -lt ",
          count,
          " ]; do read x < f$i; i=$((i+1)); done; "
          "read e _ < /proc/uptime; echo $s $e"),
      timeout));
  REQUIRE_THAT(lab->AwaitTrustedAgain(timeout), IsOk());
  const nlohmann::json status = Require(lab->Status());
  CHECK(status.value("excluded", uint64_t{0}) == files);
  CHECK(Require(lab->Findings()).empty());
  std::cout << "agent, while " << count << " files were measured (uptime "
            << took.substr(0, took.size() - 1)
            << "): " << AgentCpuSeconds(*lab) - before
            << " s of the guest's CPU\n";
}

}  // namespace
}  // namespace cupel::vm
