// cupel-tenant appraise, without a quote

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/list_builder.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

std::string ListOf(const std::string& name) {
  return VectorPath("ima/" + name + "/binary_runtime_measurements");
}

std::string AllowlistFor(const std::string& name) {
  return AllowlistOf(ListOf(name));
}

// A folder with the quoted list's allowlist in it.
struct Case {
  Case() { Spill(allowlist, AllowlistFor("quote")); }

  CommandResult Appraise(const Arguments& more = {}) const {
    return Tenant(Arguments{"appraise", "--ima-list", QuotedList(),
                            "--allowlist", allowlist} +
                  more);
  }
  std::string Write(const std::string& name, const std::string& content) const {
    Spill(folder / name, content);
    return folder / name;
  }

  TemporaryFolder folder;
  std::string allowlist = folder / "allowlist.txt";
};

// PCR 10 alone, out of a bank's values beside a list.
std::string SlurpPcr10(const std::string& list, const std::string& bank) {
  for (const std::string& line :
       Lines(TextOf(VectorPath("ima/" + list + "/pcrs-" + bank + ".txt")))) {
    if (absl::StartsWith(line, "PCR-10:")) return line + "\n";
  }
  FAIL("no PCR 10");
  return "";
}

const char kBusybox[] =
    "3d9f2889d6782537624a4e1a10e68a2ddd53e0ee8bac02676f27308f42ec6bf6  "
    "/bin/busybox\n";

TEST_CASE("appraise: a list whose files are all allowed passes, unproven") {
  const Case c;
  const CommandResult result = c.Appraise();
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(Lines(result.out).front() == "INFO - Checking IMA measurement list...");
  CHECK(absl::StrContains(
      result.out, "INFO - IMA OK: template-hash 0 fnf 0 hash 0 good 74\n"));
  CHECK(LastLine(result.out) == "INFO - appraisal passed, not proven by a TPM");
}

TEST_CASE("appraise: a file that the allowlist lacks") {
  const Case c;
  Spill(c.allowlist, Replace(TextOf(c.allowlist), kBusybox, ""));
  const CommandResult result = c.Appraise();
  CHECK(result.exit_code == 1);
  const auto lines = Lines(result.out);
  REQUIRE(lines.size() >= 3);
  CHECK(lines[lines.size() - 3] ==
        "WARNING - File not found in allowlist: /bin/busybox");
  CHECK(lines[lines.size() - 2] ==
        "ERROR - IMA ERRORS: template-hash 0 fnf 1 hash 0 good 73");
  CHECK(absl::StartsWith(lines.back(), "WARNING - appraisal failed"));
  CHECK(absl::StrContains(lines.back(), "ima.not_in_policy"));
  CHECK(absl::StrContains(lines.back(), "not proven by a TPM"));

  // An exclude for it, and all is well; the exclude is counted.
  const CommandResult excluded =
      c.Appraise({"--exclude", c.Write("exclude.txt", "/tmp/.*\n/bin/\n")});
  CHECK(excluded.exit_code == 0);
  CHECK(absl::StrContains(excluded.out, "1 of 74 entries were excluded"));
  CHECK(absl::StrContains(excluded.out, "good 74"));
}

TEST_CASE("appraise: a file whose digest is another") {
  const Case c;
  Spill(c.allowlist, Replace(TextOf(c.allowlist), "3d9f2889", "3d9f2888"));
  const CommandResult result = c.Appraise();
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(
      result.out,
      "WARNING - Hashes for file /bin/busybox don't match: found "
      "sha256:3d9f2889"));
  CHECK(absl::StrContains(result.out, "the policy has sha256:3d9f2888"));
  CHECK(absl::StrContains(
      result.out, "ERROR - IMA ERRORS: template-hash 0 fnf 0 hash 1 good 73"));
  // Both digests listed: either will do.
  Spill(c.allowlist, TextOf(c.allowlist) + kBusybox);
  CHECK(c.Appraise().exit_code == 0);
}

TEST_CASE("appraise --deny: a denied digest beats the allowlist") {
  const Case c;
  const CommandResult result =
      c.Appraise({"--deny", c.Write("deny.txt", kBusybox)});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "ima.digest_denied"));
  CHECK(absl::StrContains(result.out, "deny.txt"));
}

TEST_CASE("appraise --pcrs: values that nobody signed") {
  const Case c;
  const std::string pcrs = VectorPath("ima/quote/pcrs.json");
  const CommandResult result = c.Appraise({"--pcrs", pcrs});
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(LastLine(result.out), "not proven by a TPM"));
  CHECK(absl::StrContains(LastLine(result.out), "explained by the PCR values"));
  // The listed boot_aggregate is not needed then.
  CHECK(absl::StrContains(result.out, "INFO - ima.boot_aggregate_listed"));

  const std::string wrong = Replace(
      TextOf(pcrs),
      "e0273bed5360eaf51b65c991870868db11ffb790074a3ec476cd56ddb663d215",
      std::string(64, '1'));
  const CommandResult lost = c.Appraise({"--pcrs", c.Write("p.json", wrong)});
  CHECK(lost.exit_code == 1);
  CHECK(absl::StrContains(lost.out, "ima.history_lost"));
  CHECK(absl::StrContains(LastLine(lost.out), "not proven by a TPM"));
}

TEST_CASE("appraise --pcrs: what the TPM's tools print") {
  const Case c;
  for (const char* pcrs : {"quote/checkquote.txt", "ima/quote/pcrs-sha256.txt",
                           "quote/qall.pcrs"}) {
    CAPTURE(pcrs);
    CHECK(c.Appraise({"--pcrs", VectorPath(pcrs)}).exit_code == 0);
  }
  // SHA-1 alone vouches for nothing unless that is allowed.
  const std::string sha1 = VectorPath("ima/quote/pcrs-sha1.txt");
  const CommandResult weak = c.Appraise({"--pcrs", sha1});
  CHECK(weak.exit_code == 1);
  CHECK(absl::StrContains(weak.out, "pcr.bank_weak"));
  CHECK(absl::StrContains(weak.out, "--allow-sha1-bank"));
  // Raw values do not say which PCRs they are of.
  CHECK_THAT(c.Appraise({"--pcrs", VectorPath("quote/q10.pcrs")}),
             IsRefused("q10.pcrs"));
  CHECK_THAT(c.Appraise({"--pcrs", VectorPath("quote/no-tpm.json")}),
             IsRefused("no PCR values"));
}

TEST_CASE("appraise --allow-sha1-bank") {
  const Case c;
  Spill(c.allowlist, AllowlistFor("ng-sha1bank-sha1hash"));
  const Arguments command = {"appraise",
                             "--ima-list",
                             ListOf("ng-sha1bank-sha1hash"),
                             "--allowlist",
                             c.allowlist,
                             "--pcrs",
                             VectorPath("ima/ng-sha1bank-sha1hash/pcrs.json")};
  CHECK(Tenant(command).exit_code == 1);
  CHECK(Tenant(command + Arguments{"--allow-sha1-bank"}).exit_code == 0);
}

TEST_CASE("appraise --pad-sha1") {
  const Case c;
  const std::string name = "ng-sha384bank-only";
  Spill(c.allowlist, AllowlistFor(name));
  const Arguments command = {"appraise",
                             "--ima-list",
                             ListOf(name),
                             "--allowlist",
                             c.allowlist,
                             "--pcrs",
                             VectorPath("ima/" + name + "/pcrs.json"),
                             "--lab"};
  CHECK(absl::StrContains(Tenant(command).out, "ima.history_lost"));
  const CommandResult padded =
      Tenant(command + Arguments{"--pad-sha1", "sha384"});
  CHECK(padded.exit_code == 1);
  CHECK_FALSE(absl::StrContains(padded.out, "ima.history_lost"));
  CHECK(absl::StrContains(padded.out, "pcr.bank_weak"));
  CHECK(Tenant(command + Arguments{"--pad-sha1", "sha384", "--allow-sha1-bank"})
            .exit_code == 0);
}

// Of a machine with five violations.
Arguments AppraiseViolations(const Case& c) {
  const std::string name = "ng-tcb-violations";
  Spill(c.allowlist, AllowlistFor(name));
  return {"appraise",
          "--ima-list",
          ListOf(name),
          "--allowlist",
          c.allowlist,
          "--pcrs",
          VectorPath("ima/" + name + "/pcrs.json")};
}

TEST_CASE("appraise --tolerate-violations") {
  const Case c;
  const Arguments command = AppraiseViolations(c);
  const CommandResult result = Tenant(command);
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "WARNING - ima.violation"));
  CHECK(absl::StrContains(result.out, "--tolerate-violations"));
  CHECK(absl::StrContains(result.out, "violations 5"));
  CHECK(absl::StrContains(result.out, "[no PCR covers this]"));
  const CommandResult tolerated =
      Tenant(command + Arguments{"--tolerate-violations"});
  CHECK(tolerated.exit_code == 0);
  CHECK(absl::StrContains(tolerated.out, "INFO - ima.violation"));
  CHECK(absl::StrContains(tolerated.out, "violations 5"));
}

TEST_CASE("appraise --tolerate-violations-of") {
  const Case c;
  const Arguments command =
      AppraiseViolations(c) + Arguments{"--tolerate-violations-of"};
  const auto tolerate = [&](const std::string& patterns) {
    return Tenant(command + Arguments{c.Write("patterns", patterns)});
  };
  const CommandResult all = tolerate("/\n");
  CAPTURE(all);
  CHECK(all.exit_code == 0);
  CHECK(absl::StrContains(all.out, "INFO - ima.violation"));
  CHECK(absl::StrContains(all.out, "violations 5"));
  CHECK(tolerate("/no/such/\n").exit_code == 1);
  CHECK(tolerate("").exit_code == 1);
  CHECK_THAT(tolerate("log\n"), IsRefused("begin it"));
  CHECK_THAT(tolerate("/a(?=b)\n"), IsRefused("patterns:1"));
}

TEST_CASE("appraise --ima-policy: the list has to show it") {
  const Case c;
  const auto appraise = [&](const std::string& path) {
    return c.Appraise({"--ima-policy", path});
  };
  CHECK(appraise("/bin/busybox").exit_code == 0);
  CHECK(appraise("none").exit_code == 0);
  const CommandResult missing = appraise("/etc/ima/ima-policy");
  CAPTURE(missing);
  CHECK(missing.exit_code == 2);
  CHECK(absl::StrContains(missing.out, "ima.policy_unproven"));
  CHECK(absl::StrContains(missing.out, "/etc/ima/ima-policy"));
  CHECK_THAT(appraise("ima-policy"), IsRefused("starts with /"));
}

TEST_CASE("appraise --lab: a boot_aggregate of zeros") {
  const Case c;
  Spill(c.allowlist, AllowlistFor("no-tpm"));
  const Arguments command = {"appraise", "--ima-list", ListOf("no-tpm"),
                             "--allowlist", c.allowlist};
  const CommandResult result = Tenant(command);
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "ima.boot_aggregate_zero"));
  CHECK(absl::StrContains(result.out, "--lab"));
  CHECK(Tenant(command + Arguments{"--lab"}).exit_code == 0);
}

TEST_CASE("appraise: boot_aggregate neither computed nor listed is undecided") {
  const Case c;
  Spill(c.allowlist, Replace(TextOf(c.allowlist),
                             "32a180d2c83491c25f0497670ccf40f896a25758314ff488"
                             "c43f5ed8b719c8fd  boot_aggregate\n",
                             ""));
  const CommandResult result = c.Appraise();
  CHECK(result.exit_code == 2);
  CHECK(absl::StrContains(
      result.out, "ERROR - could not decide - ima.boot_aggregate_unproven"));
  CHECK(absl::StrContains(result.out, "ERROR - IMA UNDECIDED"));
  CHECK(absl::StrContains(LastLine(result.out), "could not be decided"));
  CHECK(absl::StrContains(LastLine(result.out), "not proven by a TPM"));
  // With the PCRs it is computed.
  CHECK(c.Appraise({"--pcrs", VectorPath("ima/quote/pcrs.json")}).exit_code ==
        0);
  // A file that fails beside it is a failure all the same.
  Spill(c.allowlist, Replace(TextOf(c.allowlist), kBusybox, ""));
  CHECK(c.Appraise().exit_code == 1);
}

TEST_CASE("appraise --tpm-policy: the boot that is allowed") {
  const Case c;
  const std::string pcrs = VectorPath("ima/quote/pcrs.json");
  const std::string pcr0 =
      Json::parse(TextOf(pcrs))["sha256"]["0"].get<std::string>();
  const std::string right =
      c.Write("right.json", absl::StrCat("{\"0\":\"", pcr0, "\"}"));
  const CommandResult passed =
      c.Appraise({"--pcrs", pcrs, "--tpm-policy", right});
  CHECK(passed.exit_code == 0);
  CHECK_FALSE(absl::StrContains(passed.out, "boot.any"));
  const CommandResult failed = c.Appraise(
      {"--pcrs", pcrs, "--tpm-policy",
       c.Write("wrong.json",
               absl::StrCat("{\"0\":\"", std::string(64, '2'), "\"}"))});
  CHECK(failed.exit_code == 1);
  CHECK(absl::StrContains(failed.out, "boot.pcr_mismatch"));
  // The list is not what failed.
  CHECK(absl::StrContains(failed.out, "IMA OK"));
  // Nothing to compare with.
  CHECK(c.Appraise({"--tpm-policy", right}).exit_code == 2);
  CHECK_THAT(c.Appraise({"--tpm-policy", c.Write("bad.json", "{")}),
             IsRefused("bad.json"));
}

TEST_CASE("appraise --json: every documented member") {
  const Case c;
  Spill(c.allowlist, Replace(TextOf(c.allowlist), "3d9f2889", "3d9f2888"));
  const CommandResult result =
      c.Appraise({"--json", "--pcrs", VectorPath("quote/checkquote.txt")});
  CHECK(result.exit_code == 1);
  CHECK(result.err.empty());
  const Json json = Json::parse(result.out);
  CHECK(json["verdict"] == "fail");
  CHECK(json["proof"] == "pcrs");
  CHECK(json["bank"] == "sha256");
  CHECK(json["counts"] == Json({{"entries", 72},
                                {"good", 71},
                                {"excluded", 0},
                                {"not_in_policy", 0},
                                {"digest_mismatch", 1},
                                {"template_digest", 0},
                                {"violations", 0},
                                {"other_failures", 0},
                                {"pending", 2}}));
  CHECK(json["findings_dropped"] == 0);
  const auto finding = std::ranges::find_if(
      json["findings"],
      [](const Json& each) { return each["id"] == "ima.digest_mismatch"; });
  REQUIRE(finding != json["findings"].end());
  CHECK((*finding)["severity"] == "failure");
  CHECK((*finding)["entry"] == 2);
  CHECK((*finding)["pcr"] == 10);
  CHECK((*finding)["path"] == "/bin/busybox");
  CHECK(absl::StartsWith((*finding)["found"].get<std::string>(),
                         "sha256:3d9f2889"));
  CHECK(absl::StartsWith((*finding)["expected"].get<std::string>(),
                         "sha256:3d9f2888"));
  CHECK((*finding)["detail"].is_string());
  CHECK((*finding)["authenticated"] == true);

  const Json unproven = Json::parse(c.Appraise({"--json"}).out);
  CHECK(unproven["proof"] == "none");
  CHECK_FALSE(unproven.contains("bank"));
}

TEST_CASE("appraise: an ASCII list, and a list on standard input") {
  const Case c;
  CHECK(Tenant({"appraise", "--ima-list",
                VectorPath("ima/quote/ascii_runtime_measurements"),
                "--allowlist", c.allowlist})
            .exit_code == 0);
  CommandOptions options;
  for (const char* list : {"binary", "ascii"}) {
    options.input = TextOf(
        VectorPath(absl::StrCat("ima/quote/", list, "_runtime_measurements")));
    CHECK(Tenant({"appraise", "--ima-list", "-", "--allowlist", c.allowlist},
                 options)
              .exit_code == 0);
  }
  options.input = TextOf(c.allowlist);
  CHECK(
      Tenant({"appraise", "--ima-list", QuotedList(), "--policy", "-"}, options)
          .exit_code == 0);
  CHECK_THAT(Tenant({"appraise", "--ima-list", "-", "--policy", "-"}, options),
             IsRefused("only once"));
}

TEST_CASE("appraise: a list that is none is not judged") {
  const Case c;
  const auto appraise = [&](const std::string& list) {
    return Tenant({"appraise", "--ima-list", c.Write("list", list),
                   "--allowlist", c.allowlist});
  };
  for (const std::string& garbage :
       {std::string("garbage\n"), std::string(1000, '\xff'),
        TextOf(c.allowlist), std::string("{}"), std::string("10 x\n")}) {
    CHECK_THAT(appraise(garbage), IsRefused("list: "));
  }
  // Its first bytes look like a record's.
  const CommandResult record =
      appraise(std::string("\x0a\0\0\0", 4) + std::string(1000, '\xff'));
  CHECK(record.exit_code == 2);
  CHECK(absl::StrContains(record.out, "ima.list_malformed"));
  // What stands behind a break can't be known.
  const CommandResult cut = appraise(TextOf(QuotedList()).substr(0, 5000));
  CHECK(cut.exit_code == 2);
  CHECK(absl::StrContains(cut.out, "ima.list_malformed"));
  CHECK(absl::StrContains(LastLine(cut.out), "not proven by a TPM"));
  // An empty list is a well-formed one on which nothing was measured.
  const CommandResult empty = appraise("");
  CHECK(empty.exit_code == 1);
  CHECK(absl::StrContains(empty.out, "ima.boot_aggregate_missing"));
}

TEST_CASE("appraise: missing and unreadable files") {
  const Case c;
  CHECK_THAT(Tenant({"appraise"}), IsRefused("--ima-list is required"));
  CHECK_THAT(Tenant({"appraise", "--ima-list", QuotedList()}),
             IsRefused("no policy"));
  CHECK_THAT(Tenant({"appraise", "--ima-list", QuotedList(), "--exclude",
                     c.Write("e", "/tmp/\n")}),
             IsRefused("no policy"));
  CHECK_THAT(Tenant({"appraise", "--ima-list", "/no/such", "--allowlist",
                     c.allowlist}),
             IsRefused("/no/such: No such file or directory"));
  for (const char* option : {"--policy", "--allowlist", "--exclude", "--deny",
                             "--tpm-policy", "--pcrs"}) {
    CAPTURE(option);
    CHECK_THAT(Tenant({"appraise", "--ima-list", QuotedList(), "--policy",
                       c.allowlist, option, "/no/such"}),
               IsRefused("/no/such: No such file or directory"));
  }
  // A list in the policy's place: said in words that help.
  CHECK_THAT(Tenant({"appraise", "--ima-list", QuotedList(), "--allowlist",
                     QuotedList()}),
             IsRefused("a binary file"));
}

TEST_CASE("appraise: names cannot steer a terminal") {
  const Case c;
  ListBuilder builder;
  builder.AddFile("boot_aggregate", FileDigestOf("boot"));
  builder.AddFile("/x\x1b[2J\nINFO - appraisal passed", FileDigestOf("x"));
  const CommandResult result =
      Tenant({"appraise", "--ima-list",
              c.Write("list", std::string(AsText(builder.bytes()))),
              "--allowlist", c.allowlist});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out,
                          "File not found in allowlist: /x\\x1b[2J\\nINFO"));
  CHECK_FALSE(absl::StrContains(result.out, "\x1b"));
  CHECK_FALSE(absl::StrContains(result.out, "\nINFO - appraisal passed"));
}

TEST_CASE("appraise: thousands of missing files leave the report readable") {
  const Case c;
  ListBuilder builder;
  builder.AddFile("boot_aggregate", FileDigestOf("boot"));
  for (int i = 0; i < 10'000; ++i) {
    builder.AddFile(absl::StrCat("/missing/", i), FileDigestOf("x"));
  }
  builder.AddFile("/bin/busybox", FileDigestOf("other"));
  const std::string list =
      c.Write("list", std::string(AsText(builder.bytes())));
  const Arguments command = {"appraise", "--ima-list", list, "--allowlist",
                             c.allowlist};
  const CommandResult result = Tenant(command);
  CHECK(result.exit_code == 1);
  CHECK(Lines(result.out).size() < 100);
  CHECK(
      absl::StrContains(result.out, "File not found in allowlist: /missing/0"));
  CHECK(absl::StrContains(result.out, "9950 more of ima.not_in_policy"));
  // What is rare is not lost among what is frequent.
  CHECK(absl::StrContains(result.out, "Hashes for file /bin/busybox"));
  CHECK(absl::StrContains(result.out, "fnf 10000 hash 2 good 0"));
  const Json json = Json::parse(Tenant(command + Arguments{"--json"}).out);
  CHECK(json["findings"].size() >= 10'002);
  CHECK(json["findings_dropped"] == 0);
}

TEST_CASE("appraise: a policy's warnings are summed up on standard error") {
  const Case c;
  std::string excludes;
  for (int i = 0; i < 300; ++i) absl::StrAppend(&excludes, "/dir", i, "\n");
  const CommandResult result =
      c.Appraise({"--exclude", c.Write("exclude.txt", excludes)});
  CHECK(result.exit_code == 0);
  const auto lines = Lines(result.err);
  REQUIRE(lines.size() == 1);
  CHECK(absl::StartsWith(lines[0], "cupel-tenant: warning: "));
  CHECK(absl::StrContains(lines[0], "exclude.txt:1: "));
  CHECK(absl::StrContains(lines[0],
                          "[exclude.prefix, 300 in all: see policy lint]"));
}

TEST_CASE("appraise: a pattern that can't be used is an error, never dropped") {
  const Case c;
  const CommandResult result = c.Appraise(
      {"--exclude",
       c.Write("exclude.txt", "/ok/\n(bad\n\n/x(?=y)\n\x1b[31m(\n/ok2/\n")});
  CHECK_THAT(result, IsRefused("exclude.txt:2: "));
  CHECK(absl::StrContains(result.err, "exclude.txt:4: "));
  CHECK(absl::StrContains(result.err, "exclude.txt:5: "));
  CHECK_FALSE(absl::StrContains(result.err, "exclude.txt:1: "));
  CHECK_FALSE(absl::StrContains(result.err, "exclude.txt:6: "));
}

TEST_CASE("appraise: a list with an open question is not called OK") {
  const Case c;
  // The guide's allowlist has no boot_aggregate, and the file no PCR 0 to 9;
  // that only SHA-1 vouches for the list is what fails.
  const CommandResult result =
      Tenant({"appraise", "--ima-list", QuotedList(), "--policy",
              VectorPath("guide/policy.json"), "--pcrs",
              c.Write("pcrs", SlurpPcr10("quote", "sha1"))});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(LastLine(result.out), "(pcr.bank_weak)"));
  CHECK(absl::StrContains(result.out, "ima.boot_aggregate_unproven"));
  CHECK(absl::StrContains(result.out, "ERROR - IMA UNDECIDED: "));
}

}  // namespace
}  // namespace cupel::testing
