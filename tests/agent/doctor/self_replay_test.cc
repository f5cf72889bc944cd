#include "agent/doctor/self_replay.h"

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "nlohmann/json.hpp"
#include "tests/agent/doctor/doctor_rig.h"
#include "tests/support/list_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::IsOk;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

SelfTestReport Compare(DoctorRig& rig) {
  const auto source =
      ImaListSource::Open(rig.machine.Path(rig.machine.config.ima_list),
                          rig.machine.Path(rig.machine.config.ima_count));
  REQUIRE_THAT(StatusOf(source), IsOk());
  auto report = CompareListWithPcrs(rig.tpm(), **source);
  REQUIRE_THAT(StatusOf(report), IsOk());
  return *std::move(report);
}

TEST_CASE("a list that explains every bank passes") {
  DoctorRig rig;
  const SelfTestReport report = Compare(rig);
  CHECK(report.ExitCode() == 0);
  REQUIRE(report.banks.size() == 2);
  for (const BankReport& bank : report.banks) {
    CHECK(bank.result == BankResult::kExplained);
    CHECK(bank.explained_count == 5);
  }
  CHECK(report.Text() ==
        "sha1: explained by the first 5 entries\n"
        "sha256: explained by the first 5 entries\n");
  const auto json = nlohmann::json::parse(report.Json());
  CHECK(json["entries"] == 5);
  CHECK(json["banks"][1]["bank"] == "sha256");
  CHECK(json["banks"][1]["result"] == "explained");
  CHECK(json["banks"][1]["explained"] == 5);
}

TEST_CASE("entries that came after the PCRs were read change nothing") {
  DoctorRig rig;
  ListBuilder longer = rig.list;
  longer.AddFile("/late", FileDigestOf("late"));
  rig.Write(kImaList, AsText(longer.bytes()));
  CHECK(Compare(rig).ExitCode() == 0);
}

TEST_CASE("each bank has to be explained by itself") {
  DoctorRig rig;
  tpm::PcrValues values;
  rig.tpm().values.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
    const bool changed = pcr == 10 && value.algorithm() == HashAlgorithm::kSha1;
    REQUIRE(values
                .Set(pcr, changed
                              ? crypto::Digest::Filled(HashAlgorithm::kSha1, 7)
                              : value)
                .ok());
  });
  rig.tpm().values = values;
  const SelfTestReport report = Compare(rig);
  CHECK(report.banks[0].result == BankResult::kUnexplained);
  CHECK(report.banks[1].result == BankResult::kExplained);
  CHECK(report.ExitCode() == 1);
}

TEST_CASE("every PCR of the list counts, whatever its number") {
  for (const uint32_t pcr : {9u, 11u, 15u, 16u, 23u}) {
    CAPTURE(pcr);
    DoctorRig rig;
    ListBuilder list = rig.list;
    list.AddFile("/other", FileDigestOf("other"), pcr);
    rig.SetList(list);
    if (pcr > 10) CHECK(Compare(rig).ExitCode() == 0);
    // The list has it, the PCR does not.
    ListBuilder without = rig.list;
    rig.tpm().values = ValuesOf(without, rig.tpm().banks);
    CHECK(Compare(rig).ExitCode() == 1);
  }
}

TEST_CASE("PCRs that lack entries are not explained by what they have") {
  DoctorRig rig;
  SECTION("none of them") {
    rig.tpm().values = ValuesOf(ListBuilder(), rig.tpm().banks);
    const SelfTestReport report = Compare(rig);
    CHECK(report.banks[1].result == BankResult::kIncomplete);
    CHECK(report.banks[1].explained_count == 0);
    CHECK(report.ExitCode() == 1);
  }
  SECTION("the last one") {
    ListBuilder shorter;
    for (int i = 0; i < 4; ++i) {
      const std::string path = "/usr/bin/" + std::to_string(i);
      shorter.AddFile(path, FileDigestOf(path));
    }
    rig.tpm().values = ValuesOf(shorter, rig.tpm().banks);
    const SelfTestReport report = Compare(rig);
    CHECK(report.banks[1].result == BankResult::kIncomplete);
    CHECK(report.banks[1].explained_count == 4);
    CHECK(report.ExitCode() == 1);
  }
  SECTION("but the kernel may be about to extend it") {
    ListBuilder shorter;
    for (int i = 0; i < 4; ++i) {
      const std::string path = "/usr/bin/" + std::to_string(i);
      shorter.AddFile(path, FileDigestOf(path));
    }
    const tpm::PcrValues complete = rig.tpm().values;
    rig.tpm().values = ValuesOf(shorter, rig.tpm().banks);
    int reads = 0;
    rig.tpm().before_read = [&] {
      if (++reads > 2) rig.tpm().values = complete;
    };
    CHECK(Compare(rig).ExitCode() == 0);
  }
}

TEST_CASE("a bank of padded SHA-1 digests is told from one that is broken") {
  DoctorRig rig;
  tpm::PcrValues values;
  crypto::Digest padded(HashAlgorithm::kSha256);
  // What an old kernel does.
  for (int i = 0; i < 5; ++i) {
    const std::string path = "/usr/bin/" + std::to_string(i);
    std::vector<uint8_t> data =
        testing::Field(testing::DigestNg(FileDigestOf(path)));
    Append(data, testing::Field(testing::NameNg(path)));
    std::vector<uint8_t> digest =
        ToVector(crypto::Hash(HashAlgorithm::kSha1, data).bytes());
    digest.resize(padded.size());
    crypto::ExtendPcr(padded, digest);
  }
  rig.tpm().values.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
    const bool changed =
        pcr == 10 && value.algorithm() == HashAlgorithm::kSha256;
    REQUIRE(values.Set(pcr, changed ? padded : value).ok());
  });
  rig.tpm().values = values;
  const SelfTestReport report = Compare(rig);
  CHECK(report.banks[0].result == BankResult::kExplained);
  CHECK(report.banks[1].result == BankResult::kPadded);
  CHECK(report.ExitCode() == 1);
}

TEST_CASE("a bank that can't be compared is never a pass") {
  DoctorRig rig;
  SECTION("one that no replay computes") {
    rig.tpm().banks.push_back(HashAlgorithm::kSm3_256);
  }
  SECTION("one without a name") { rig.tpm().state.unnamed_banks = {0x99}; }
  const SelfTestReport report = Compare(rig);
  REQUIRE(report.banks.size() == 3);
  CHECK(report.banks[2].result == BankResult::kUndecided);
  CHECK(report.ExitCode() == 2);
  // A failure is not hidden by it.
  rig.tpm().values = ValuesOf(ListBuilder(), rig.tpm().banks);
  CHECK(Compare(rig).ExitCode() == 1);
}

TEST_CASE("where there is nothing to compare there is no verdict") {
  DoctorRig rig;
  const auto refused = [&](absl::StatusCode code, const char* text) {
    const auto source =
        ImaListSource::Open(rig.machine.Path(rig.machine.config.ima_list),
                            rig.machine.Path(rig.machine.config.ima_count));
    REQUIRE_THAT(StatusOf(source), IsOk());
    CHECK_THAT(StatusOf(CompareListWithPcrs(rig.tpm(), **source)),
               StatusIs(code, text));
  };
  SECTION("no banks") {
    rig.tpm().banks.clear();
    refused(absl::StatusCode::kFailedPrecondition, "bank");
  }
  SECTION("no entries") {
    rig.SetList(ListBuilder());
    refused(absl::StatusCode::kFailedPrecondition, "empty");
  }
  SECTION("half an entry") {
    rig.Write(kImaList, AsText(rig.list.bytes()).substr(0, 100));
    refused(absl::StatusCode::kInvalidArgument, "");
  }
  SECTION("no TPM") {
    rig.tpm().error = absl::UnavailableError("away");
    refused(absl::StatusCode::kUnavailable, "away");
  }
  CHECK(SelfTestReport().ExitCode() == 2);
}

}  // namespace
}  // namespace cupel::agent
