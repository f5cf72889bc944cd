// cupel-tenant policy show, lint and convert

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/list_builder.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

std::string Guide(const std::string& name) {
  return VectorPath("guide/" + name);
}

const std::string kDigest(64, 'a');
const std::string kOther(64, 'b');

// Every member of Keylime's form, and Cupel's "deny".
std::string FullPolicy() {
  return absl::StrCat(
      R"({"meta":{"version":1,"generator":3,"timestamp":"2024-01-01"},)",
      R"("release":0,"digests":{"/bin/a":[")", kDigest, R"(",")", kOther,
      R"("],"/bin/b":[")", kOther, R"("]},"excludes":["/tmp/.*"],)",
      R"("keyrings":{".ima":[")", kDigest, R"("]},)",
      R"("ima":{"ignored_keyrings":[".evm"],"log_hash_alg":"sha256",)",
      R"("dm_policy":null},"ima-buf":{"cmdline":[")", kOther, R"("]},)",
      R"("verification-keys":"","deny":{"digests":[")", std::string(64, 'c'),
      R"("]}})");
}

struct Folder {
  std::string Write(const std::string& name, const std::string& content) const {
    Spill(folder / name, content);
    return folder / name;
  }
  TemporaryFolder folder;
};

TEST_CASE("policy show: what a policy holds") {
  const Folder f;
  const CommandResult result =
      Tenant({"policy", "show", f.Write("p.json", FullPolicy())});
  CHECK(result.exit_code == 0);
  for (const char* line :
       {"paths: 2\n", "digests: 3\n", "excludes: 1\n", "  /tmp/.*\n",
        "denied digests: 1\n", "keyrings: 1\n", "buffers: 1\n",
        "log hash: sha256\n", "made: 2024-01-01\n"}) {
    CAPTURE(line);
    CHECK(absl::StrContains(result.out, line));
  }
  CHECK(absl::StartsWith(result.out,
                         absl::StrCat("policy: ", f.folder / "p.json", "\n")));
  CHECK_FALSE(absl::StrContains(result.out, kDigest));
}

TEST_CASE("policy show --path and --digests") {
  const Folder f;
  const std::string policy = f.Write("p.json", FullPolicy());
  const CommandResult listed =
      Tenant({"policy", "show", policy, "--path", "/bin/a"});
  CHECK(listed.exit_code == 0);
  CHECK(absl::StrContains(listed.out,
                          absl::StrCat("sha256:", kDigest, "  /bin/a\n")));
  CHECK(absl::StrContains(listed.out,
                          absl::StrCat("sha256:", kOther, "  /bin/a\n")));
  CHECK_FALSE(absl::StrContains(listed.out, "/bin/b"));
  const CommandResult unlisted =
      Tenant({"policy", "show", policy, "--path", "/bin/c"});
  CHECK(unlisted.exit_code == 1);
  CHECK(absl::StrContains(unlisted.err, "not listed: \"/bin/c\""));
  const CommandResult all = Tenant({"policy", "show", policy, "--digests"});
  CHECK(absl::StrContains(all.out, "/bin/b\n"));
}

TEST_CASE("policy show --json, several policies") {
  const Folder f;
  const CommandResult result =
      Tenant({"policy", "show", f.Write("p.json", FullPolicy()),
              Guide("allowlist.txt"), "--exclude", Guide("exclude.txt"),
              "--digests", "--json"});
  REQUIRE(result.exit_code == 0);
  const Json json = Json::parse(result.out);
  REQUIRE(json.size() == 3);
  CHECK(json[0]["policy"] == f.folder / "p.json");
  CHECK(json[0]["paths"] == 2);
  CHECK(json[0]["digest_count"] == 3);
  CHECK(json[0]["excludes"] == Json::array({"/tmp/.*"}));
  CHECK(json[0]["deny"][0]["digest"] == "sha256:" + std::string(64, 'c'));
  CHECK(json[0]["keyrings"] == 1);
  CHECK(json[0]["buffers"] == 1);
  CHECK(json[0]["digests"]["/bin/a"].size() == 2);
  CHECK(json[1]["paths"] == 69);
  CHECK(json[2]["excludes"].size() == 2);
}

TEST_CASE("policy: a digest or a path that is given twice counts once") {
  const Folder f;
  const std::string list =
      f.Write("a.txt", absl::StrCat(kDigest, "  /a\n", kDigest, "  /a\n",
                                    kOther, "  /a\n", kDigest, "  /b\n"));
  const CommandResult result = Tenant({"policy", "show", list});
  CHECK(absl::StrContains(result.out, "paths: 2\n"));
  CHECK(absl::StrContains(result.out, "digests: 3\n"));
}

TEST_CASE("policy lint: warnings are findings") {
  const Folder f;
  const CommandResult clean = Tenant({"policy", "lint", Guide("policy.json")});
  CHECK(clean.exit_code == 0);
  CHECK(clean.out == "0 warnings\n");

  const std::string excludes = f.Write("e.txt", "/tmp\n#x\n/ok/\n");
  const CommandResult result =
      Tenant({"policy", "lint", Guide("allowlist.txt"), "--exclude", excludes});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "e.txt:1: "));
  CHECK(absl::StrContains(result.out, "[exclude.prefix]"));
  CHECK(absl::StrContains(result.out, "[exclude.comment]"));
  CHECK(absl::StrContains(LastLine(result.out), " warnings"));
  // A list of excludes alone can be looked at.
  const CommandResult json =
      Tenant({"policy", "lint", "--exclude", excludes, "--json"});
  CHECK(json.exit_code == 1);
  const Json warnings = Json::parse(json.out);
  REQUIRE(warnings.size() >= 2);
  for (const Json& warning : warnings) {
    CHECK(warning["code"].is_string());
    CHECK(warning["origin"].is_string());
    CHECK(warning["message"].is_string());
    CHECK(warning["count"] == 1);
  }
}

TEST_CASE("policy lint --tpm-policy") {
  const Folder f;
  const std::string clean =
      f.Write("t.json", absl::StrCat(R"({"0":")", kDigest, R"("})"));
  CHECK(Tenant({"policy", "lint", "--tpm-policy", clean}).exit_code == 0);
  const std::string sha1 = f.Write(
      "s.json", absl::StrCat(R"({"0":")", std::string(40, 'a'), R"("})"));
  const CommandResult result =
      Tenant({"policy", "lint", Guide("policy.json"), "--tpm-policy", sha1});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "s.json"));
  CHECK_THAT(Tenant({"policy", "lint", "--tpm-policy", f.Write("b", "[]")}),
             IsRefused("/b"));
}

TEST_CASE("policy lint: many warnings of one kind are counted") {
  const Folder f;
  std::string excludes;
  for (int i = 0; i < 300; ++i) absl::StrAppend(&excludes, "/dir", i, "\n");
  const CommandResult result =
      Tenant({"policy", "lint", "--exclude", f.Write("e.txt", excludes)});
  CHECK(Lines(result.out).size() < 30);
  CHECK(LastLine(result.out) == "300 warnings");
}

TEST_CASE("policy: every bad pattern is named by file and line") {
  const Folder f;
  const std::string bad = f.Write("e.txt", "/ok/\n(\n\n[\n/x(?!y)\n.*\n");
  for (const char* command : {"show", "lint", "convert"}) {
    CAPTURE(command);
    const CommandResult result = Tenant({"policy", command, "--exclude", bad});
    CHECK_THAT(result, IsRefused("e.txt:2: "));
    for (const char* line : {"e.txt:4: ", "e.txt:5: ", "e.txt:6: "}) {
      CHECK(absl::StrContains(result.err, line));
    }
    CHECK_FALSE(absl::StrContains(result.err, "e.txt:1: "));
  }
  const std::string json =
      f.Write("p.json", Replace(FullPolicy(), "/tmp/.*", "(\\u001b["));
  const CommandResult result = Tenant({"policy", "lint", json});
  CHECK_THAT(result, IsRefused("excludes[0]"));
  CHECK(absl::StrContains(result.err, "p.json"));
}

TEST_CASE("policy: a file that is no policy is refused by line or member") {
  const Folder f;
  const auto lint = [&](const std::string& content) {
    return Tenant({"policy", "lint", f.Write("p", content)});
  };
  CHECK_THAT(lint("nonsense\n"), IsRefused("/p:1: "));
  CHECK_THAT(lint(kDigest + "  /a\nxyz  /b\n"), IsRefused("/p:2: "));
  CHECK_THAT(lint("{"), IsRefused("/p"));
  CHECK_THAT(lint("{}"), IsRefused("/p"));
  CHECK_THAT(lint(Replace(FullPolicy(), "\"/bin/b\":[\"", "\"/bin/b\":[1,\"")),
             IsRefused("digests"));
  CHECK_THAT(lint(std::string("\x7f"
                              "ELF\0\0",
                              6)),
             IsRefused("a binary file"));
  CHECK_THAT(Tenant({"policy", "show", "/no/such"}), IsRefused("/no/such: No"));
  for (const char* command : {"show", "lint", "convert"}) {
    CHECK_THAT(Tenant({"policy", command}), IsRefused("no policy"));
    CHECK_THAT(Tenant({"policy", command, "--frob", "x"}), IsRefused("--frob"));
  }
}

TEST_CASE("policy: a signed one needs its key, and a key needs a signed one") {
  const std::string signed_policy = VectorPath("policy/signed-policy.json");
  const std::string key = VectorPath("policy/signed-policy.pub.pem");
  CHECK(Tenant({"policy", "show", signed_policy, "--policy-key", key})
            .exit_code == 0);
  CHECK_THAT(Tenant({"policy", "show", signed_policy}),
             IsRefused("signed-policy.json"));
  CHECK_THAT(Tenant({"policy", "show", signed_policy, "--policy-key",
                     VectorPath("quote/akecc.pem")}),
             IsRefused("signed-policy.json"));
  CHECK_THAT(
      Tenant({"policy", "show", Guide("policy.json"), "--policy-key", key}),
      IsRefused("policy.json"));
  CHECK_THAT(
      Tenant({"policy", "show", Guide("allowlist.txt"), "--policy-key", key}),
      IsRefused("allowlist.txt"));
  // A key that would check nothing is an error, not a comfort.
  CHECK_THAT(Tenant({"policy", "show", "--allowlist", Guide("allowlist.txt"),
                     "--policy-key", key}),
             IsRefused("--policy-key"));
}

TEST_CASE("policy convert: the guide's lists give the guide's policy") {
  const CommandResult result =
      Tenant({"policy", "convert", "--allowlist", Guide("allowlist.txt"),
              "--exclude", Guide("exclude.txt")});
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(result.out == TextOf(Guide("policy.json")));
}

TEST_CASE("policy convert: there and back again") {
  const Folder f;
  const std::string json = Guide("policy.json");
  const std::string allowlist = f.folder / "allowlist.txt";
  const std::string excludes = f.folder / "excludes.txt";
  CHECK(
      Tenant({"policy", "convert", json, "--to", "allowlist", "-o", allowlist})
          .exit_code == 0);
  CHECK(Tenant({"policy", "convert", json, "--to", "excludes", "--output",
                excludes})
            .exit_code == 0);
  CHECK(TextOf(excludes) == TextOf(Guide("exclude.txt")));
  const CommandResult back = Tenant(
      {"policy", "convert", "--allowlist", allowlist, "--exclude", excludes});
  CHECK(back.out == TextOf(json));
  // JSON to JSON keeps every member.
  const std::string full = f.Write("full.json", FullPolicy());
  const CommandResult same = Tenant({"policy", "convert", full});
  CHECK(same.exit_code == 0);
  const Json before = Json::parse(FullPolicy());
  const Json after = Json::parse(same.out);
  for (const char* member : {"digests", "excludes", "keyrings", "ima",
                             "ima-buf", "verification-keys", "release"}) {
    CAPTURE(member);
    CHECK(after[member] == before[member]);
  }
  CHECK(absl::StrContains(after["deny"].dump(), std::string(64, 'c')));
}

TEST_CASE("policy convert: what a text form can't hold is said") {
  const Folder f;
  const std::string full = f.Write("full.json", FullPolicy());
  const CommandResult result =
      Tenant({"policy", "convert", full, "--to", "allowlist"});
  CHECK(result.exit_code == 0);
  CHECK(Lines(result.out).size() == 3);
  CHECK(Lines(result.err).size() == 1);
  for (const char* what : {"denied digests (1)", "keyrings (1)",
                           "ima-buf entries (1)", "ignored keyrings (1)"}) {
    CHECK(absl::StrContains(result.err, what));
  }
}

TEST_CASE("policy convert: odd paths survive the way through text") {
  const Folder f;
  const std::string list = f.Write(
      "a.txt", absl::StrCat("\\", kDigest, "  /new\\nline\n", kOther,
                            "  /with space\n", kDigest, "  /bytes\xff\xfe\n"));
  const std::string json = Tenant({"policy", "convert", list}).out;
  const CommandResult text = Tenant(
      {"policy", "convert", f.Write("p.json", json), "--to", "allowlist"});
  CHECK(text.exit_code == 0);
  CHECK(absl::StrContains(text.out,
                          absl::StrCat("\\", kDigest, "  /new\\nline\n")));
  CHECK(absl::StrContains(text.out, "  /with space\n"));
  CHECK(absl::StrContains(text.out, "  /bytes\xff\xfe\n"));
}

TEST_CASE("policy convert: one policy at a time, one form of those there are") {
  CHECK_THAT(Tenant({"policy", "convert", Guide("policy.json"),
                     Guide("allowlist.txt")}),
             IsRefused("one policy at a time"));
  CHECK_THAT(Tenant({"policy", "convert", Guide("policy.json"), "--to", "xml"}),
             IsRefused("--to"));
  const Folder f;
  CHECK_THAT(Tenant({"policy", "convert", Guide("policy.json"), "-o",
                     f.folder / "no/such"}),
             IsRefused("no/such"));
  // A failed conversion leaves the output file alone.
  const std::string output = f.Write("out", "before");
  CHECK(Tenant({"policy", "convert", f.Write("bad", "nonsense"), "-o", output})
            .exit_code == 2);
  CHECK(TextOf(output) == "before");
}

TEST_CASE("policy: a hundred thousand digests") {
  const Folder f;
  std::string allowlist;
  for (int i = 0; i < 100'000; ++i) {
    absl::StrAppendFormat(&allowlist, "%064x  /usr/lib/module-%06d.so\n", i + 1,
                          i);
  }
  const std::string text = f.Write("a.txt", allowlist);
  const std::string json = f.folder / "p.json";
  REQUIRE(Tenant({"policy", "convert", text, "-o", json}).exit_code == 0);
  CHECK(absl::StrContains(Tenant({"policy", "show", json}).out,
                          "digests: 100000\n"));
  CHECK(Tenant({"policy", "convert", json, "--to", "allowlist"}).out ==
        allowlist);
  CHECK(Tenant({"policy", "show", json, "--path", "/usr/lib/module-099999.so"})
            .exit_code == 0);
  const CommandResult appraised = Tenant(
      {"appraise", "--ima-list", QuotedList(), "--policy", json, "--policy",
       Guide("policy.json"), "--pcrs", VectorPath("ima/quote/pcrs.json")});
  CHECK(appraised.exit_code == 0);
  CHECK(appraised.err.empty());
}

}  // namespace
}  // namespace cupel::testing
