// cupel-tenant log replay

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/list_builder.h"
#include "tests/support/real_lists.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

using Json = nlohmann::json;

std::string ListOf(const RealList& list) {
  return list.folder + "/binary_runtime_measurements";
}

// The files of PCR values beside a list.
std::vector<std::string> PcrFilesOf(const RealList& list) {
  std::vector<std::string> files = {list.folder + "/pcrs.json"};
  for (const char* bank : {"sha1", "sha256", "sha384"}) {
    const std::string file = absl::StrCat(list.folder, "/pcrs-", bank, ".txt");
    if (std::filesystem::exists(file)) files.push_back(file);
  }
  return files;
}

TEST_CASE("log replay: every real list explains the PCRs beside it") {
  size_t compared = 0;
  for (const RealList& list : RealLists()) {
    const bool impossible = list.IsAfterKexec() || list.IsPadded();
    for (const std::string& pcrs : PcrFilesOf(list)) {
      CAPTURE(list.name, pcrs);
      const CommandResult result =
          Tenant({"log", "replay", ListOf(list), "--pcrs", pcrs});
      if (list.pcrs.empty()) {
        CHECK_THAT(result, IsRefused("no value of PCR 10"));
        continue;
      }
      ++compared;
      CHECK(result.exit_code == (impossible ? 1 : 0));
      CHECK(result.err.empty());
      const std::string count =
          absl::StrCat(ParseWhole(list.binary).size(), " entries");
      CHECK(Lines(result.out).front() == count);
      CHECK(absl::StrContains(result.out, "NOT explained") == impossible);
      CHECK(absl::StrContains(result.out, "explained by all " + count) ==
            !impossible);
    }
  }
  CHECK(compared >= 68);
}

TEST_CASE("log replay: a second kernel's list says what can be the matter") {
  const RealList& list = RealListNamed("kexec-second-kernel");
  const CommandResult result = Tenant(
      {"log", "replay", ListOf(list), "--pcrs", list.folder + "/pcrs.json"});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "kexec"));
  CHECK(absl::StrContains(result.out, list.pcrs.at("sha256").at(10)));
  CHECK_FALSE(absl::StrContains(result.out, "--pad-sha1"));
}

TEST_CASE("log replay --pad-sha1: a bank filled with SHA-1 digests") {
  const RealList& list = RealListNamed("ng-sha384bank-only");
  const std::vector<std::string> command = {
      "log", "replay", ListOf(list), "--pcrs", list.folder + "/pcrs.json"};
  const CommandResult own = Tenant(command);
  CHECK(own.exit_code == 1);
  CHECK(absl::StrContains(own.out, "--pad-sha1 sha384"));
  const CommandResult padded =
      Tenant(command + std::vector<std::string>{"--pad-sha1", "sha384"});
  CHECK(padded.exit_code == 0);
  CHECK(absl::StrContains(padded.out,
                          "sha384 (padded SHA-1): explained by all 21"));
  // The option before the list does not swallow it.
  CHECK(Tenant({"log", "replay", "--pad-sha1", "sha512", "--pad-sha1", "sha384",
                ListOf(list), "--pcrs", list.folder + "/pcrs.json"})
            .exit_code == 0);
  for (const char* bank : {"sha1", "md5", "sm3_256", "\x1b[2J"}) {
    CHECK_THAT(Tenant(command + std::vector<std::string>{"--pad-sha1", bank}),
               IsRefused("--pad-sha1"));
  }
}

TEST_CASE("log replay: without values it prints those of every bank") {
  const RealList& list = RealListNamed("ng-sha256bank-only");
  const CommandResult result = Tenant({"log", "replay", ListOf(list)});
  CHECK(result.exit_code == 0);
  REQUIRE(Lines(result.out).size() == 5);
  CHECK(absl::StrContains(
      result.out,
      absl::StrCat("sha256 PCR 10: ", list.pcrs.at("sha256").at(10), "\n")));
  // PCRs beside 10 where the list extends them.
  const RealList& two = RealListNamed("custom-policy-keys");
  const CommandResult both = Tenant({"log", "replay", ListOf(two)});
  CHECK(absl::StrContains(
      both.out,
      absl::StrCat("sha1 PCR 11: ", two.pcrs.at("sha1").at(11), "\n")));
}

TEST_CASE("log replay: values of a quote explain the entries before it") {
  for (const char* pcrs : {"quote/qall.pcrs", "quote/checkquote.txt"}) {
    CAPTURE(pcrs);
    const CommandResult result =
        Tenant({"log", "replay", QuotedList(), "--pcrs", VectorPath(pcrs)});
    CHECK(result.exit_code == 0);
    CHECK(absl::StrContains(result.out,
                            "sha256: explained by the first 72 of 74 entries"));
  }
  // Raw values do not say what they are values of.
  CHECK_THAT(Tenant({"log", "replay", QuotedList(), "--pcrs",
                     VectorPath("quote/q10.pcrs")}),
             IsRefused("q10.pcrs"));
}

TEST_CASE("log replay: one bank that is not explained fails all") {
  const RealList& list = RealListNamed("quote");
  const TemporaryFolder folder;
  std::string pcrs = TextOf(list.folder + "/pcrs.json");
  const std::string value = list.pcrs.at("sha1").at(10);
  Spill(folder / "pcrs.json",
        Replace(pcrs, value, std::string(value.size(), '1')));
  const CommandResult result =
      Tenant({"log", "replay", ListOf(list), "--pcrs", folder / "pcrs.json"});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "sha1: NOT explained"));
  CHECK(absl::StrContains(result.out, "sha256: explained by all 74"));
}

TEST_CASE("log replay: a PCR without a value leaves the question open") {
  const RealList& list = RealListNamed("custom-policy-keys");
  const TemporaryFolder folder;
  Spill(folder / "pcrs.json",
        absl::StrCat("{\"sha256\":{\"10\":\"", list.pcrs.at("sha256").at(10),
                     "\"}}"));
  const std::vector<std::string> command = {"log", "replay", ListOf(list),
                                            "--pcrs", folder / "pcrs.json"};
  const CommandResult result = Tenant(command);
  CHECK(result.exit_code == 2);
  CHECK(absl::StrContains(result.out, "sha256: explained by"));
  CHECK(absl::StrContains(result.out, "PCR 11"));
  CHECK(absl::StrContains(result.out, "could not decide"));
  const Json json =
      Json::parse(Tenant(command + std::vector<std::string>{"--json"}).out);
  CHECK(json["uncovered_pcrs"] == Json::array({11}));
  // Another bank's value will do.
  Spill(folder / "pcrs.json",
        absl::StrCat("{\"sha256\":{\"10\":\"", list.pcrs.at("sha256").at(10),
                     "\"},\"sha1\":{\"11\":\"", list.pcrs.at("sha1").at(11),
                     "\"}}"));
  CHECK(Tenant(command).exit_code == 0);
}

TEST_CASE("log replay: banks whose values are of different moments") {
  const RealList& list = RealListNamed("quote");
  const std::string all = TextOf(list.folder + "/pcrs.json");
  // SHA-256 after 72 entries, SHA-1 after all 74.
  const Json quoted =
      Json::parse(Tenant({"log", "replay", ListOf(list), "--pcrs",
                          VectorPath("quote/checkquote.txt"), "--json"})
                      .out);
  const TemporaryFolder folder;
  Spill(folder / "pcrs.json",
        Replace(all, list.pcrs.at("sha256").at(10),
                quoted["banks"][0]["pcrs"]["10"].get<std::string>()));
  const CommandResult result =
      Tenant({"log", "replay", ListOf(list), "--pcrs", folder / "pcrs.json"});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "sha1: explained by all 74"));
  CHECK(absl::StrContains(result.out, "sha256: explained by the first 72"));
  CHECK(absl::StrContains(result.out, "The banks disagree"));
}

TEST_CASE("log replay --json") {
  const RealList& list = RealListNamed("quote");
  const CommandResult result =
      Tenant({"log", "replay", ListOf(list), "--pcrs",
              VectorPath("quote/checkquote.txt"), "--json"});
  CHECK(result.exit_code == 0);
  const Json json = Json::parse(result.out);
  CHECK(json["entries"] == 74);
  CHECK(json["uncovered_pcrs"].empty());
  CHECK(json["left_out_banks"].empty());
  REQUIRE(json["banks"].size() == 1);
  const Json& bank = json["banks"][0];
  CHECK(bank["bank"] == "sha256");
  CHECK(bank["padded_sha1"] == false);
  CHECK(bank["explained"] == true);
  CHECK(bank["explained_by_entries"] == 72);
  CHECK(bank["pcrs"]["10"] == bank["expected"]["10"]);

  const Json values =
      Json::parse(Tenant({"log", "replay", ListOf(list), "--json"}).out);
  REQUIRE(values["banks"].size() == 4);
  for (const Json& each : values["banks"]) {
    CHECK_FALSE(each.contains("explained"));
    CHECK_FALSE(each.contains("expected"));
  }
  CHECK(values["banks"][1]["pcrs"]["10"] == list.pcrs.at("sha256").at(10));
}

TEST_CASE("log replay: an ASCII list and a list on standard input") {
  const RealList& list = RealListNamed("sig-signed");
  const std::string pcrs = list.folder + "/pcrs.json";
  CHECK(Tenant({"log", "replay", list.folder + "/ascii_runtime_measurements",
                "--pcrs", pcrs})
            .exit_code == 0);
  CommandOptions options;
  options.input = std::string(AsText(list.binary));
  CHECK(Tenant({"log", "replay", "-", "--pcrs", pcrs}, options).exit_code == 0);
  CHECK_THAT(Tenant({"log", "replay", "-", "--pcrs", "-"}, options),
             IsRefused("only once"));
}

TEST_CASE("log replay: an empty list explains PCRs that are zero") {
  const TemporaryFolder folder;
  Spill(folder / "list", "");
  Spill(folder / "zero.json",
        absl::StrCat("{\"sha256\":{\"10\":\"", std::string(64, '0'), "\"}}"));
  const CommandResult zero = Tenant(
      {"log", "replay", folder / "list", "--pcrs", folder / "zero.json"});
  CHECK(zero.exit_code == 0);
  CHECK(Lines(zero.out).front() == "0 entries");
  Spill(folder / "one.json",
        absl::StrCat("{\"sha256\":{\"10\":\"", std::string(64, '1'), "\"}}"));
  CHECK(
      Tenant({"log", "replay", folder / "list", "--pcrs", folder / "one.json"})
          .exit_code == 1);
}

TEST_CASE("log replay: files that make no sense") {
  const RealList& list = RealListNamed("quote");
  const TemporaryFolder folder;
  Spill(folder / "cut", AsText(list.binary).substr(0, 1000));
  CHECK_THAT(Tenant({"log", "replay", folder / "cut"}), IsRefused("entry 9"));
  for (const char* content :
       {"", "{", "{}", "nonsense", "PCR-10: AB", "\x01"}) {
    CAPTURE(content);
    Spill(folder / "pcrs", content);
    CHECK_THAT(
        Tenant({"log", "replay", ListOf(list), "--pcrs", folder / "pcrs"}),
        IsRefused("pcrs: "));
  }
  CHECK_THAT(Tenant({"log", "replay", ListOf(list), "--pcrs", "/no/such"}),
             IsRefused("/no/such: No such file"));
  // What cannot be replayed is said to be left out.
  Spill(folder / "pcrs",
        absl::StrCat("{\"sm3_256\":{\"10\":\"", std::string(64, '0'),
                     "\"},\"sha256\":{\"10\":\"", list.pcrs.at("sha256").at(10),
                     "\"}}"));
  const CommandResult sm3 =
      Tenant({"log", "replay", ListOf(list), "--pcrs", folder / "pcrs"});
  CHECK(sm3.exit_code == 0);
  CHECK(absl::StrContains(sm3.out, "sm3_256: left out"));
}

TEST_CASE("log replay: a digest column that is not its data's is a finding") {
  const RealList& list = RealListNamed("quote");
  const TemporaryFolder folder;
  std::string bytes(AsText(list.binary));
  const size_t second = ParseWhole(list.binary)[1].offset;
  for (const size_t at : {size_t{4}, size_t{23}}) {
    std::string changed = bytes;
    changed[second + at] = static_cast<char>(changed[second + at] ^ 1);
    Spill(folder / "list", changed);
    const CommandResult result = Tenant({"log", "replay", folder / "list",
                                         "--pcrs", list.folder + "/pcrs.json"});
    CHECK(result.exit_code == 1);
    CHECK(absl::StrContains(result.out, "sha256: explained by all 74"));
    CHECK(absl::StrContains(result.out, "1 entries show a template digest"));
    CHECK(absl::StrContains(result.out, "the first is entry 1: "));
    const CommandResult json =
        Tenant({"log", "replay", folder / "list", "--json"});
    CHECK(json.exit_code == 1);
    CHECK(Json::parse(json.out)["wrong_template_digests"] == 1);
  }
}

TEST_CASE("log replay: a record that a name has forged in a text is found") {
  // What the kernel writes for a file of this name is two lines.
  ListBuilder forged;
  forged.AddFile("/b", FileDigestOf("b"));
  CommandOptions options;
  options.input = std::string(AsText(forged.bytes()));
  const std::string line = Tenant({"log", "show", "-"}, options).out;
  ListBuilder builder;
  builder.AddFile("/a\n" + line.substr(0, line.size() - 1), FileDigestOf("a"));
  const std::string digest =
      HexEncode(std::span(builder.bytes()).subspan(4, 20));
  options.input = absl::StrCat("10 ", digest, " ima-ng ",
                               FileDigestOf("a").ToString(), " /a\n", line);
  const CommandResult result = Tenant({"log", "replay", "-"}, options);
  CHECK(result.exit_code == 1);
  CHECK(Lines(result.out).front() == "2 entries");
  CHECK(absl::StrContains(result.out, "1 entries show a template digest"));
  CHECK(absl::StrContains(result.out, "the first is entry 0: "));
}

}  // namespace
}  // namespace cupel::testing
