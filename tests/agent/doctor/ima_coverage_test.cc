#include "agent/doctor/ima_coverage.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"

namespace cupel::agent {
namespace {

using Texts = std::vector<std::string>;

// A policy of packaging/ima, and the lines of it that are rules.
std::string PolicyText(const std::string& name) {
  const auto bytes = ReadFile(
      absl::StrCat(CUPEL_SOURCE_DIR "/packaging/ima/", name), size_t{1} << 16);
  REQUIRE(bytes.ok());
  return std::string(AsText(*bytes));
}

Texts RuleLines(const std::string& policy) {
  Texts lines;
  for (const ImaRule& rule : ParseImaPolicy(policy)) lines.push_back(rule.text);
  return lines;
}

std::vector<ImaGap> Gaps(const std::string& policy) {
  return GapsOf(ParseImaPolicy(policy));
}

Texts GapTexts(const std::string& policy) {
  Texts texts;
  for (const ImaGap& gap : Gaps(policy)) texts.push_back(gap.text);
  return texts;
}

constexpr char kStrict[] =
    "measure func=BPRM_CHECK\n"
    "measure func=MMAP_CHECK mask=MAY_EXEC\n"
    "measure func=MODULE_CHECK\n"
    "measure func=FIRMWARE_CHECK\n"
    "measure func=POLICY_CHECK\n"
    "measure func=KEXEC_KERNEL_CHECK\n"
    "measure func=KEXEC_INITRAMFS_CHECK\n"
    "measure func=KEXEC_CMDLINE\n"
    "measure func=KEY_CHECK\n"
    "measure func=CRITICAL_DATA\n";

// The only gap of that policy.
ImaGap OnlyGap(const std::string& policy) {
  const std::vector<ImaGap> gaps = Gaps(policy);
  CAPTURE(policy, GapTexts(policy));
  REQUIRE(gaps.size() == 1);
  return gaps.front();
}

TEST_CASE("the strict policy has no gap") {
  CHECK(GapTexts(PolicyText("strict.policy")).empty());
  CHECK(GapTexts(kStrict).empty());
}

TEST_CASE("each rule of the strict policy that is taken away is named") {
  const std::string strict = PolicyText("strict.policy");
  const Texts lines = RuleLines(strict);
  size_t measures = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    Texts others = lines;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    const std::string policy = absl::StrJoin(others, "\n");
    CAPTURE(lines[i]);
    if (absl::StartsWith(lines[i], "dont_measure")) {
      CHECK(Gaps(policy).empty());  // it measures more
      continue;
    }
    ++measures;
    const ImaGap gap = OnlyGap(policy);
    const std::string func = ParseImaPolicy(lines[i]).front().Get("func");
    CHECK(absl::StrContains(gap.text, absl::StrCat("(no rule with ", func)));
    CHECK(absl::StartsWith(gap.cure,
                           absl::StrCat("add \"", lines[i], "\" to the")));
    CHECK(gap.is_vital == (func == "BPRM_CHECK"));
    // The cure is one.
    CHECK(Gaps(absl::StrCat(policy, "\n", lines[i])).empty());
  }
  CHECK(measures == 10);
}

TEST_CASE("the guide's policy has exactly these gaps") {
  CHECK(
      GapTexts(PolicyText("guide.policy")) ==
      Texts{
          ("kernel modules are measured for some alone (measure "
           "func=MODULE_CHECK uid=0): a module can do everything, and whoever "
           "has CAP_SYS_MODULE loads it"),
          ("firmware is not measured (no rule with FIRMWARE_CHECK): devices "
           "run "
           "it, some with access to all memory"),
          ("IMA policies are not measured (no rule with POLICY_CHECK): one "
           "that "
           "measures less can be loaded unseen"),
          ("kernels for kexec are not measured (no rule with "
           "KEXEC_KERNEL_CHECK): nothing else tells which kernel runs next"),
          ("initramfs images for kexec are not measured (no rule with "
           "KEXEC_INITRAMFS_CHECK): nothing else tells what the next kernel "
           "runs first"),
          ("command lines for kexec are not measured (no rule with "
           "KEXEC_CMDLINE): one can tell the next kernel to measure nothing"),
          ("keys that come into keyrings are not measured (no rule with "
           "KEY_CHECK): whoever can add one can sign"),
          ("the kernel's critical data is not measured (no rule with "
           "CRITICAL_DATA): device-mapper tables and SELinux's state decide "
           "what is allowed"),
          ("tmpfs is left out (dont_measure fsmagic=0x01021994 comes first) of "
           "programs, libraries, kernel modules: /tmp, /run, /dev/shm and "
           "memfds are tmpfs, and anybody can write there"),
          ("ramfs is left out (dont_measure fsmagic=0x858458f6 comes first) of "
           "programs, libraries, kernel modules: an initramfs is one, and "
           "whatever root mounts as such")});
  for (const ImaGap& gap : Gaps(PolicyText("guide.policy"))) {
    CHECK_FALSE(gap.is_vital);
  }
}

TEST_CASE("the kernel's own policy leaves out tmpfs and what it lacks") {
  for (const bool legacy : {false, true}) {
    const Texts words = legacy ? Texts{} : Texts{"tcb"};
    Texts texts;
    for (const ImaGap& gap : GapsOf(BuiltinImaRules(words, legacy))) {
      texts.push_back(gap.text.substr(0, gap.text.find(':')));
    }
    const std::string opened =
        legacy ? "measure func=FILE_CHECK mask=MAY_READ uid=0"
               : "measure func=FILE_CHECK mask=^MAY_READ euid=0, measure "
                 "func=FILE_CHECK mask=^MAY_READ uid=0";
    CHECK(texts ==
          Texts{absl::StrCat("kernels for kexec are measured for some alone (",
                             opened, ")"),
                absl::StrCat("initramfs images for kexec are measured for some "
                             "alone (",
                             opened, ")"),
                ("command lines for kexec are not measured (no rule with "
                 "KEXEC_CMDLINE)"),
                ("keys that come into keyrings are not measured (no rule with "
                 "KEY_CHECK)"),
                ("the kernel's critical data is not measured (no rule with "
                 "CRITICAL_DATA)"),
                ("tmpfs is left out (dont_measure fsmagic=0x1021994 comes "
                 "first) of programs, libraries, kernel modules, firmware, IMA "
                 "policies, kernels for kexec, initramfs images for kexec")});
  }
  const auto gaps = GapsOf(BuiltinImaRules({"tcb", "critical_data"}, false));
  CHECK(std::ranges::none_of(gaps, [](const ImaGap& gap) {
    return absl::StrContains(gap.text, "CRITICAL_DATA");
  }));
}

TEST_CASE("a rule that holds for some leaves the others unmeasured") {
  for (const char* const condition :
       {"uid=0", "uid<1000", "euid>1000", "gid=0", "egid=0", "fowner=0",
        "fgroup=0", "fsuuid=0", "fsname=ext4", "fsmagic=0xef53", "subj_type=x",
        "obj_type=y", "obj_user=z"}) {
    CAPTURE(condition);
    const std::string rule =
        absl::StrCat("measure func=BPRM_CHECK ", condition);
    std::string policy(kStrict);
    policy.replace(0, policy.find('\n'), rule);
    const ImaGap gap = OnlyGap(policy);
    CHECK(gap.is_vital);
    CHECK(absl::StartsWith(
        gap.text,
        absl::StrCat("programs are measured for some alone (", rule, "): ")));
    CHECK(gap.cure == "add \"measure func=BPRM_CHECK\" to the policy");
    CHECK(Gaps(policy + "measure func=BPRM_CHECK\n").empty());
  }
  for (const char* const narrowed :
       {"measure func=KEY_CHECK keyrings=.ima", "measure func=KEY_CHECK uid=0",
        "measure func=CRITICAL_DATA label=selinux",
        "measure func=KEXEC_CMDLINE fowner=0"}) {
    CAPTURE(narrowed);
    const std::string func = ParseImaPolicy(narrowed).front().Get("func");
    std::string policy(kStrict);
    const std::string line = absl::StrCat("measure func=", func, "\n");
    policy.replace(policy.find(line), line.size(),
                   absl::StrCat(narrowed, "\n"));
    CHECK(absl::StrContains(OnlyGap(policy).text,
                            absl::StrCat("for some alone (", narrowed, "): ")));
  }
}

TEST_CASE("a rule fits what the kernel asks about, and nothing else") {
  const auto measures = [](const char* policy, const std::string& func) {
    const auto all = CoverageOf(ParseImaPolicy(policy));
    const auto found = std::ranges::find(all, func, &ImaCoverage::func);
    REQUIRE(found != all.end());
    return found->is_measured;
  };
  for (const char* const rule : {"measure func=BPRM_CHECK", "measure",
                                 "measure func=BPRM_CHECK mask=MAY_EXEC pcr=11",
                                 "measure mask=^MAY_EXEC template=ima-sig"}) {
    CHECK(measures(rule, "BPRM_CHECK"));
  }
  for (const char* const rule :
       {"", "measure func=MMAP_CHECK", "measure func=BPRM_CHECK mask=MAY_READ",
        "appraise func=BPRM_CHECK", "audit func=BPRM_CHECK",
        "hash func=BPRM_CHECK", "measure func=FILE_CHECK mask=^MAY_READ"}) {
    CHECK_FALSE(measures(rule, "BPRM_CHECK"));
  }
  CHECK(measures("measure func=FILE_MMAP mask=MAY_EXEC", "MMAP_CHECK"));
  // The kernel asks about a command line with no mask, and about buffers by
  // their names alone.
  CHECK(measures("measure", "KEXEC_CMDLINE"));
  CHECK_FALSE(measures("measure mask=^MAY_READ", "KEXEC_CMDLINE"));
  CHECK_FALSE(measures("measure", "KEY_CHECK"));
  CHECK_FALSE(measures("measure", "CRITICAL_DATA"));
  CHECK(measures("dont_measure\nmeasure func=KEY_CHECK", "KEY_CHECK"));
  // Not everybody who may load a kernel is who opens it.
  CHECK_FALSE(measures("measure func=FILE_CHECK", "KEXEC_KERNEL_CHECK"));
}

TEST_CASE("the first rule that fits decides") {
  const std::string strict(kStrict);
  SECTION("a rule for everything shuts the others out") {
    const ImaGap gap = OnlyGap("dont_measure func=BPRM_CHECK\n" + strict);
    CHECK(absl::StartsWith(
        gap.text,
        "programs are not measured (dont_measure func=BPRM_CHECK comes first"));
    CHECK(gap.cure ==
          "put \"measure func=BPRM_CHECK\" before \"dont_measure "
          "func=BPRM_CHECK\"");
    CHECK(Gaps(strict + "dont_measure func=BPRM_CHECK\n").empty());
  }
  SECTION("... even what some of them measure") {
    const ImaGap gap = OnlyGap(
        "measure func=BPRM_CHECK uid=0\ndont_measure func=BPRM_CHECK\n" +
        strict);
    CHECK(absl::StrContains(gap.text, "(measure func=BPRM_CHECK uid=0)"));
    CHECK(absl::StrContains(gap.cure, "before \"dont_measure"));
  }
  SECTION("all of it") {
    // Buffers are named by their own rules alone.
    CHECK(Gaps("dont_measure\n" + strict).size() == 8);
  }
}

TEST_CASE("a rule that leaves files out is a hole where it comes first") {
  const std::string strict(kStrict);
  for (const char* const rule :
       {"dont_measure fsmagic=0x9fa0", "dont_measure fsmagic=73636673",
        "dont_measure fsmagic=0x62656572 func=BPRM_CHECK",
        "dont_measure fsmagic=0x01021994 func=FILE_CHECK",
        "dont_measure func=BPRM_CHECK mask=MAY_READ uid=0"}) {
    CAPTURE(rule);
    CHECK(Gaps(absl::StrCat(rule, "\n", strict)).empty());
  }
  for (const char* const rule :
       {"dont_measure fsmagic=0x12345", "dont_measure fsmagic=0xef53",
        "dont_measure obj_type=var_log_t", "dont_measure fsname=tmpfs",
        "dont_measure fowner=1000", "dont_measure func=BPRM_CHECK uid=1000",
        "dont_measure func=KEY_CHECK keyrings=.ima"}) {
    CAPTURE(rule);
    const ImaGap gap = OnlyGap(absl::StrCat(rule, "\n", strict));
    CHECK_FALSE(gap.is_vital);
    CHECK(
        absl::StrContains(gap.text, absl::StrCat("(", rule, " comes first)")));
    CHECK(absl::StartsWith(gap.cure, absl::StrCat("remove \"", rule, "\"")));
    CHECK(Gaps(absl::StrCat(strict, rule)).empty());
  }
  SECTION("what an earlier rule has measured is none") {
    CHECK(Gaps("measure func=BPRM_CHECK uid=0\n"
               "dont_measure func=BPRM_CHECK uid=0 fsmagic=0x01021994\n" +
               strict)
              .empty());
    CHECK(Gaps("measure func=BPRM_CHECK uid=1\n"
               "dont_measure func=BPRM_CHECK uid=0 fsmagic=0x01021994\n" +
               strict)
              .size() == 1);
  }
  SECTION("the lines of the cure are one") {
    const ImaGap gap =
        OnlyGap("dont_measure func=MMAP_CHECK fsmagic=0x01021994\n" + strict);
    CHECK(gap.cure ==
          "remove \"dont_measure func=MMAP_CHECK fsmagic=0x01021994\", or put "
          "before it \"measure func=MMAP_CHECK mask=MAY_EXEC\"");
    CHECK(Gaps("measure func=MMAP_CHECK mask=MAY_EXEC\n"
               "dont_measure func=MMAP_CHECK fsmagic=0x01021994\n" +
               strict)
              .empty());
  }
}

TEST_CASE("nothing of a policy reaches a terminal as it is") {
  for (const ImaGap& gap :
       Gaps("dont_measure obj_type=\x1b[2J\nmeasure func=BPRM_CHECK\n"
            "measure func=MMAP_CHECK fowner=\x1b[2J\n")) {
    CHECK_FALSE(absl::StrContains(gap.text, "\x1b"));
    CHECK_FALSE(absl::StrContains(gap.cure, "\x1b"));
  }
}

}  // namespace
}  // namespace cupel::agent
