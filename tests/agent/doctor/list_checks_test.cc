#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/agent/doctor/doctor_rig.h"
#include "tests/support/list_builder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::FileDigestOf;
using ::cupel::testing::ListBuilder;

TEST_CASE("list and count have to be readable, and more than the boot") {
  DoctorRig rig;
  CHECK(Says(rig.Check("ima.list"), Outcome::kOk, "5 entries"));
  SECTION("no list") {
    rig.Remove(kImaList);
    CHECK(Says(rig.Check("ima.list"), Outcome::kFailure, "securityfs"));
  }
  SECTION("no count") {
    rig.Remove(kImaCount);
    CHECK(Says(rig.Check("ima.list"), Outcome::kFailure, "count"));
  }
  SECTION("no number") {
    rig.Write(kImaCount, "many\n");
    CHECK(Says(rig.Check("ima.list"), Outcome::kFailure, "no number"));
  }
  SECTION("empty") {
    rig.SetList(ListBuilder());
    CHECK(Says(rig.Check("ima.list"), Outcome::kFailure, "empty"));
    CHECK(Says(rig.Check("ima.entries"), Outcome::kUndecided, "empty"));
    CHECK(Says(rig.Check("tpm.replay"), Outcome::kUndecided, "empty"));
  }
  SECTION("boot_aggregate alone") {
    ListBuilder list;
    list.AddFile("boot_aggregate", FileDigestOf("boot"));
    rig.SetList(list);
    CHECK(Says(rig.Check("ima.list"), Outcome::kFailure, "boot_aggregate"));
  }
}

TEST_CASE("entries that Cupel can't or should not judge are named") {
  DoctorRig rig;
  CHECK(Says(rig.Check("ima.entries"), Outcome::kOk,
             "templates ima-ng (5); hashes sha256 (5)"));
  ListBuilder list = rig.list;
  SECTION("an unknown template") {
    list.Add(10, "ima-new", AsBytes("data"));
    rig.SetList(list);
    CHECK(Says(rig.Check("ima.entries"), Outcome::kFailure,
               "1 entries have a template that Cupel does not know"));
  }
  SECTION("one that does not fit its template") {
    list.Add(10, "ima-ng", AsBytes("data"));
    rig.SetList(list);
    CHECK(Says(rig.Check("ima.entries"), Outcome::kFailure,
               "1 entries do not fit"));
  }
  SECTION("the oldest template") {
    list.AddLegacy("/bin/sh", FileDigestOf("sh", crypto::HashAlgorithm::kSha1));
    rig.SetList(list);
    const auto said = rig.Check("ima.entries");
    REQUIRE(said.size() == 3);
    CHECK(said[0].outcome == Outcome::kWarning);
    CHECK(said[1].text == "1 files are measured with sha1");
  }
  SECTION("violations") {
    list.AddViolation("/var/log/x");
    rig.SetList(list);
    CHECK(Says(rig.Check("ima.entries"), Outcome::kWarning, "1 violations"));
  }
  SECTION("no list at all") {
    std::vector<uint8_t> bytes = list.bytes();
    bytes.pop_back();
    rig.Write(kImaList, AsText(bytes));
    CHECK(rig.Check("ima.entries").front().outcome == Outcome::kUndecided);
    CHECK(rig.Check("tpm.replay").front().outcome == Outcome::kUndecided);
  }
}

}  // namespace
}  // namespace cupel::agent
