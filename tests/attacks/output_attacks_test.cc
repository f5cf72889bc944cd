// Attacks on whoever reads or runs an appraisal.
#include <fstream>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/hostile_text.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace cupel {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Finding;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::IsPlain;
using ::cupel::testing::kHostileText;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::ValidEvidence;

TEST_CASE("A17: something throws in the middle of a check") {
  ValidEvidence evidence = FakeMachine().Attest();
  SECTION("an exception") {
    evidence.options.on_progress = [](uint64_t) {
      throw std::runtime_error("broken");
    };
  }
  SECTION("memory") {
    evidence.options.on_progress = [](uint64_t) { throw std::bad_alloc(); };
  }
  const auto appraised = evidence.TryAppraise();
  CHECK(appraised.status().code() == absl::StatusCode::kInternal);
}

TEST_CASE("A17: no policy, or no key, is no pass") {
  ValidEvidence evidence = FakeMachine().Attest();
  SECTION("policy") { evidence.reference.policy = nullptr; }
  SECTION("key") { evidence.ak.reset(); }
  CHECK_FALSE(evidence.TryAppraise().ok());
}

TEST_CASE("A20: a finding's texts hold no bytes of the list but its path") {
  FakeMachine machine;
  machine.list.AddFile(kHostileText, FileDigestOf("evil"));
  std::vector<uint8_t> data;
  for (const std::string& field : {std::string("sha1\x1b:") + '\0' + "x",
                                   std::string(kHostileText) + '\0'}) {
    Append(data, testing::Field(AsBytes(field)));
  }
  machine.list.Add(10, "ima-ng", data);
  machine.list.AddViolation(kHostileText);
  const Appraisal appraisal = machine.Attest().Appraise();
  REQUIRE(appraisal.findings.size() == 4);
  for (const Finding& finding : appraisal.findings) {
    CHECK(IsPlain(finding.detail));
    CHECK(IsPlain(finding.expected));
    CHECK(IsPlain(finding.found));
    CHECK(IsPlain(EscapeForDisplay(finding.path)));
  }
}

std::string Spill(const std::string& path, absl::string_view content) {
  std::ofstream(path, std::ios::binary)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
  return path;
}

TEST_CASE("A20: the tenant's report shows no byte that a terminal obeys") {
  const testing::TemporaryFolder folder;
  ListBuilder list;
  list.AddFile("boot_aggregate", FileDigestOf("boot"))
      .AddFile(kHostileText, FileDigestOf("evil"))
      .AddViolation(kHostileText)
      .Add(10, "unknown", AsBytes(kHostileText));
  const std::string list_file = Spill(folder / "list", AsText(list.bytes()));
  const std::string allowlist =
      Spill(folder / "allowlist\x1b[1m",
            absl::StrCat(FileDigestOf("boot").Hex(), "  boot_aggregate\n"));
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"appraise", "--ima-list", list_file,
                                 "--allowlist", allowlist},
        {"appraise", "--json", "--ima-list", list_file, "--allowlist",
         allowlist},
        {"log", "show", list_file},
        {"log", "show", "--json", list_file},
        {"appraise", "--ima-list", kHostileText, "--allowlist", allowlist}}) {
    std::vector<std::string> command = {CUPEL_TENANT};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const auto result = testing::RunCommand(command);
    REQUIRE(result.ok());
    INFO(EscapeForDisplay(result->out + result->err));
    CHECK(IsPlain(result->out));
    CHECK(IsPlain(result->err));
    CHECK_FALSE((result->out.empty() && result->err.empty()));
    // No line of its own for what a path says.
    CHECK_FALSE(absl::StrContains(result->out, "\n INFO - all is well"));
  }
}

}  // namespace
}  // namespace cupel
