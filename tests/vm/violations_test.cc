// Violations that a real kernel sees, and what they are worth.
#include <algorithm>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

// A trusted machine that measures what root reads, of files in /srv.
std::unique_ptr<Lab> TrustedLab(const std::vector<std::string>& options) {
  auto lab = Require(Lab::Create());
  for (const char* name : {"/srv/a", "/srv/b"}) {
    REQUIRE_THAT(lab->AddFile(name, "content"), IsOk());
  }
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_template=ima-ng"), IsOk());
  REQUIRE_THAT(lab->machine().Do("chown 1000 /srv/a /srv/b").status(), IsOk());
  REQUIRE_THAT(
      lab->LoadImaRules("measure func=FILE_CHECK mask=MAY_READ fowner=1000\n"
                        "measure func=BPRM_CHECK\n"
                        "measure func=MMAP_CHECK mask=MAY_EXEC"),
      IsOk());
  std::vector<std::string> add = {"--allowlist", policy};
  add.insert(add.end(), options.begin(), options.end());
  REQUIRE_THAT(lab->Add(add), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->machine().Do("cat /srv/a /srv/b").status(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  return lab;
}

// Reads a file that somebody has open for writing (open_writers), or writes to
// one that somebody reads (ToMToU).
constexpr char kOpenWriters[] = "exec 4>>/srv/a; cat /srv/a; exec 4>&-";
constexpr char kToMToU[] = "exec 4</srv/b; echo more >>/srv/b; exec 4<&-";

TEST_CASE("A violation on a real kernel fails the machine") {
  const std::string command = GENERATE(std::string(kOpenWriters), kToMToU);
  INFO(command);
  const auto lab = TrustedLab({});
  REQUIRE_THAT(lab->machine().Do(command).status(), IsOk());
  CHECK(Require(lab->machine().Read("/sys/kernel/security/ima/violations")) ==
        "1\n");
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  const std::vector<std::string> findings = Require(lab->Findings());
  CHECK(std::ranges::count(findings, "ima.violation") == 1);
}

TEST_CASE("Violations that an operator tolerates leave the machine trusted") {
  const auto lab = TrustedLab({"--tolerate-violations"});
  REQUIRE_THAT(lab->machine().Do(kOpenWriters).status(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());

  // The file that the violation is about is judged all the same.
  REQUIRE_THAT(lab->machine().Do(kToMToU).status(), IsOk());
  REQUIRE_THAT(lab->machine().Do("cat /srv/b").status(), IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  const std::vector<std::string> findings = Require(lab->Findings());
  CHECK(std::ranges::count(findings, "ima.digest_mismatch") == 1);
  REQUIRE_THAT(Keep(*lab, "vm-violations"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
