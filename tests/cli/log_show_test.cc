// cupel-tenant log show

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/list_builder.h"
#include "tests/support/real_lists.h"

namespace cupel::testing {
namespace {

using Json = nlohmann::json;

CommandResult Show(absl::string_view list,
                   const std::vector<std::string>& options = {}) {
  CommandOptions command;
  command.input = std::string(list);
  return Tenant(std::vector<std::string>{"log", "show", "-"} + options,
                command);
}

TEST_CASE(
    "log show: every real list, an entry a line, as the kernel shows it") {
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const CommandResult result =
        Tenant({"log", "show", list.folder + "/binary_runtime_measurements"});
    REQUIRE(result.exit_code == 0);
    CHECK(result.err.empty());
    CHECK(Lines(result.out).size() == ParseWhole(list.binary).size());
    // Escapes make the two differ: a backslash, or a name over several lines.
    if (!absl::StrContains(result.out, "\\")) CHECK(result.out == list.ascii);
  }
}

TEST_CASE("log show: the ASCII list gives the same lines as the binary one") {
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const CommandResult binary = Show(AsText(list.binary));
    if (absl::StrContains(binary.out, "\\n")) continue;
    const CommandResult ascii = Show(list.ascii);
    CHECK(ascii.exit_code == 0);
    CHECK(ascii.out == binary.out);
  }
}

TEST_CASE("log show --json: an object a line") {
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const auto entries = ParseWhole(list.binary);
    const CommandResult result = Show(AsText(list.binary), {"--json"});
    REQUIRE(result.exit_code == 0);
    const std::vector<std::string> lines = Lines(result.out);
    REQUIRE(lines.size() == entries.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      const Json json = Json::parse(lines[i]);
      CHECK(json["index"] == i);
      CHECK(json["pcr"] == entries[i].pcr);
      CHECK(json["template"] == std::string(entries[i].template_name));
      CHECK(json["template_digest"].get<std::string>().size() == 40);
      CHECK(json.contains("violation") == entries[i].IsViolation());
      CHECK_FALSE(json.contains("error"));
      CHECK_FALSE(json["path"].get<std::string>().empty());
      CHECK(json.contains("digest"));
    }
  }
}

TEST_CASE("log show --json: what the templates add") {
  const auto first_with = [](absl::string_view list, const char* member) {
    const CommandResult result =
        Show(AsText(RealListNamed(list).binary), {"--json"});
    for (const std::string& line : Lines(result.out)) {
      Json json = Json::parse(line);
      if (json.contains(member)) return json;
    }
    FAIL("no entry has " << member);
    return Json();
  };
  CHECK(absl::StartsWith(
      first_with("sig-signed", "signature")["signature"].get<std::string>(),
      "03"));
  CHECK(first_with("custom-policy-keys", "buffer")["template"] == "ima-buf");
  const Json evm = first_with("evmsig-signed", "evm_signature");
  for (const char* member :
       {"xattr_names", "xattr_lengths", "xattr_values", "uid", "gid", "mode"}) {
    CHECK(evm.contains(member));
  }
}

TEST_CASE("log show --pcr: the entries of one PCR") {
  const std::string list = RealListNamed("custom-policy-keys").folder +
                           "/binary_runtime_measurements";
  const size_t all = Lines(Tenant({"log", "show", list}).out).size();
  const auto ten = Lines(Tenant({"log", "show", list, "--pcr", "10"}).out);
  const auto eleven = Lines(Tenant({"log", "show", list, "--pcr", "11"}).out);
  CHECK_FALSE(eleven.empty());
  CHECK(ten.size() + eleven.size() == all);
  for (const std::string& line : eleven) CHECK(absl::StartsWith(line, "11 "));
  CHECK(Tenant({"log", "show", list, "--pcr", "12"}).out.empty());
  CHECK_THAT(Tenant({"log", "show", list, "--pcr", "24"}), IsRefused("--pcr"));
  CHECK_THAT(Tenant({"log", "show", list, "--pcr", "-1"}), IsRefused("--pcr"));
}

TEST_CASE("log show --tail: the last entries") {
  const auto all = Lines(Tenant({"log", "show", QuotedList()}).out);
  const auto tail = [&](const std::string& count) {
    return Lines(Tenant({"log", "show", QuotedList(), "--tail", count}).out);
  };
  CHECK(tail("2") == std::vector<std::string>(all.end() - 2, all.end()));
  CHECK(tail("1000000") == all);
  CHECK(tail("0").empty());
  CHECK_THAT(Tenant({"log", "show", QuotedList(), "--tail", "-1"}),
             IsRefused("--tail"));
  CHECK_THAT(Tenant({"log", "show", QuotedList(), "--tail", "x"}),
             IsRefused("--tail"));
  // Of one PCR, the last ones of that PCR.
  const CommandResult both =
      Show(AsText(RealListNamed("custom-policy-keys").binary),
           {"--pcr", "11", "--tail", "1"});
  REQUIRE(Lines(both.out).size() == 1);
  CHECK(absl::StartsWith(both.out, "11 "));
  // Their numbers are those that they have in the whole list.
  const CommandResult json =
      Tenant({"log", "show", QuotedList(), "--tail", "1", "--json"});
  CHECK(Json::parse(json.out)["index"] == all.size() - 1);
}

TEST_CASE("log show: nothing in a name can steer a terminal") {
  const std::string names[] = {
      "/a\nb",        "/red\x1b[31m",      "/bell\x07",
      "/bad\xff\xfe", "/c1\xc2\x9b[2J",    "/rtl\xe2\x80\xae",
      "/back\\slash", "/carriage\rreturn", "/\xf0\x9f\x98\x80 smile"};
  ListBuilder builder;
  for (const std::string& name : names) {
    builder.AddFile(name, FileDigestOf(name));
  }
  const CommandResult text = Show(AsText(builder.bytes()));
  REQUIRE(text.exit_code == 0);
  CHECK(Lines(text.out).size() == std::size(names));
  for (const char c : text.out) {
    CHECK((c == '\n' || static_cast<uint8_t>(c) >= 0x20));
  }
  for (const char* shown :
       {"/a\\nb\n", "/red\\x1b[31m", "/bell\\x07", "/bad\\xff\\xfe",
        "/c1\\xc2\\x9b[2J", "/rtl\\xe2\\x80\\xae", "/back\\\\slash",
        "/carriage\\rreturn", "/\xf0\x9f\x98\x80 smile"}) {
    CAPTURE(shown);
    CHECK(absl::StrContains(text.out, shown));
  }

  const CommandResult json = Show(AsText(builder.bytes()), {"--json"});
  const std::vector<std::string> lines = Lines(json.out);
  REQUIRE(lines.size() == std::size(names));
  for (const char c : json.out) CHECK((c == '\n' || (c >= ' ' && c <= '~')));
  CHECK(Json::parse(lines[0])["path"] == "/a\nb");
  CHECK(Json::parse(lines[1])["path"] == "/red\x1b[31m");
  CHECK(Json::parse(lines[3])["path"] == "/bad\\xff\\xfe");
  CHECK(Json::parse(lines[6])["path"] == "/back\\\\slash");
}

TEST_CASE("log show: an unknown template is shown, not judged") {
  ListBuilder builder;
  builder.Add(10, "no-such\\template", ToVector(AsBytes("abc")));
  const CommandResult text = Show(AsText(builder.bytes()));
  CHECK(text.exit_code == 0);
  CHECK(absl::StrContains(text.out, "no-such\\\\template 616263"));
  const CommandResult json = Show(AsText(builder.bytes()), {"--json"});
  const Json entry = Json::parse(json.out);
  CHECK(entry["template_data"] == "616263");
  CHECK(entry.contains("error"));
}

TEST_CASE("log show: random bytes are refused") {
  std::mt19937 random(20240611);
  for (int seed = 0; seed < 150; ++seed) {
    std::string bytes;
    // Also such that begin like a record, a record of a big-endian machine, or
    // a text.
    if (seed % 4 == 1) bytes = std::string("\x0a\0\0\0", 4);
    if (seed % 4 == 2) bytes = std::string("\0\0\0\x0a", 4);
    if (seed % 4 == 3) bytes = "10 ";
    while (bytes.size() < 1000) bytes.push_back(static_cast<char>(random()));
    CAPTURE(seed);
    const CommandResult result = Show(bytes);
    CHECK_THAT(result, IsRefused("cupel-tenant: standard input: "));
    CHECK(Lines(result.err).size() == 1);
    CHECK(result.err.size() < 400);
  }
}

TEST_CASE("log show: a broken list shows what comes before the break") {
  const std::string whole = TextOf(QuotedList());
  const auto lines = Lines(Show(whole).out);
  for (const size_t cut :
       {size_t{2}, size_t{30}, whole.size() / 2, whole.size() - 1}) {
    CAPTURE(cut);
    const CommandResult result = Show(whole.substr(0, cut));
    CHECK(result.exit_code == 2);
    CHECK(absl::StrContains(result.err, "standard input: "));
    const auto shown = Lines(result.out);
    CHECK(shown.size() < lines.size());
    CHECK(std::equal(shown.begin(), shown.end(), lines.begin()));
  }
  const CommandResult tail =
      Show(whole.substr(0, whole.size() - 1), {"--tail", "1"});
  CHECK(tail.exit_code == 2);
  CHECK(Lines(tail.out) == std::vector<std::string>{lines[lines.size() - 2]});
}

TEST_CASE("log show: the byte order and the digest's size are to be said") {
  const RealList& list = RealListNamed("ngv2");
  const std::vector<uint8_t> big = ToBigEndian(list.binary);
  CHECK(Show(AsText(big)).exit_code == 2);
  CHECK(Lines(Show(AsText(big), {"--big-endian"}).out).size() ==
        ParseWhole(list.binary).size());
  CHECK_THAT(Show(AsText(list.binary), {"--digest-size", "32"}),
             IsRefused("a bank's (--digest-size)?"));
  CHECK_THAT(Show(AsText(big)),
             IsRefused("a big-endian machine (--big-endian)"));
  for (const char* size : {"21", "x"}) {
    CHECK_THAT(Show(AsText(list.binary), {"--digest-size", size}),
               IsRefused(absl::StrCat("--digest-size: ", size, " not in {20")));
  }
  // In a text its columns say it.
  std::string text = list.ascii;
  text.insert(text.find(' ') + 1, std::string(24, '0'));
  CHECK_THAT(Show(text), IsRefused("give --digest-size 32"));
}

TEST_CASE("log show: a text whose names hold newlines is refused, and why") {
  const RealList& list = RealListNamed("ng-tcb-violations");
  REQUIRE(absl::StrContains(list.ascii, "\nline\n"));
  CHECK_THAT(Show(list.ascii), IsRefused("a newline in a name"));
  CHECK_THAT(Show(list.ascii), IsRefused("give the binary list"));
  CHECK_THAT(Show(list.ascii), IsRefused("line 33: "));
}

TEST_CASE("log show: an empty list is none of an error, and said to be empty") {
  for (const char* option : {"--json", "--big-endian"}) {
    const CommandResult result = Show("", {option});
    CHECK(result.exit_code == 0);
    CHECK(result.out.empty());
    CHECK(result.err == "cupel-tenant: standard input: an empty list\n");
  }
}

TEST_CASE("log show: what can't be read is named") {
  CHECK_THAT(Tenant({"log", "show", "/no/such/list"}),
             IsRefused("/no/such/list: No such file or directory"));
  CHECK_THAT(Tenant({"log", "show", "/tmp"}),
             IsRefused("/tmp: Is a directory"));
  CHECK_THAT(Tenant({"log", "show", "/no/\x1b[2J"}), IsRefused("/no/\\x1b[2J"));
  CommandOptions closed;
  closed.in = Stream::kClosed;
  CHECK_THAT(Tenant({"log", "show", "-"}, closed), IsRefused("standard input"));
}

}  // namespace
}  // namespace cupel::testing
