#include "agent/doctor/ima_policy.h"

#include "catch2/catch.hpp"

namespace cupel::agent {
namespace {

const ImaCoverage& Of(const std::vector<ImaCoverage>& all,
                      const std::string& func) {
  for (const ImaCoverage& one : all) {
    if (one.func == func) return one;
  }
  throw std::out_of_range(func);
}

TEST_CASE("a policy's lines are rules; comments are none") {
  const auto rules = ParseImaPolicy(
      "# comment\n\n  dont_measure\tfsmagic=0x9fa0\n"
      "measure func=FILE_CHECK mask=^MAY_READ uid<1000 permit_directio\n"
      "measure\x1b[2J\n");
  REQUIRE(rules.size() == 3);
  CHECK(rules[0].action == "dont_measure");
  CHECK(rules[0].Get("fsmagic") == "0x9fa0");
  CHECK(rules[1].Get("mask") == "^MAY_READ");
  CHECK(rules[1].Get("uid") == "<1000");
  CHECK(rules[1].Has("permit_directio"));
  CHECK_FALSE(rules[1].Has("euid"));
  CHECK(rules[2].text == "measure\\x1b[2J");
}

TEST_CASE("the first rule that fits decides") {
  const auto coverage = [](const char* policy) {
    return Of(CoverageOf(ParseImaPolicy(policy)), "BPRM_CHECK");
  };
  CHECK_FALSE(coverage("").is_measured);
  CHECK(coverage("measure func=BPRM_CHECK").is_measured);
  CHECK(coverage("measure func=BPRM_CHECK mask=MAY_EXEC pcr=11").is_measured);
  CHECK(coverage("measure mask=^MAY_EXEC template=ima-sig").is_measured);
  CHECK(coverage("measure").is_measured);
  // Of another function, or for another access.
  CHECK_FALSE(coverage("measure func=MMAP_CHECK").is_measured);
  CHECK_FALSE(coverage("measure func=BPRM_CHECK mask=MAY_READ").is_measured);
  CHECK_FALSE(coverage("appraise func=BPRM_CHECK").is_measured);
  CHECK_FALSE(coverage("audit func=BPRM_CHECK").is_measured);

  for (const char* const condition :
       {"uid=0", "euid>1000", "fowner=0", "fsuuid=0", "fsname=ext4",
        "subj_type=x", "obj_type=y"}) {
    CAPTURE(condition);
    const std::string rule =
        std::string("measure func=BPRM_CHECK ") + condition;
    const auto some = coverage(rule.c_str());
    CHECK_FALSE(some.is_measured);
    CHECK(some.restricted == rule);
    const auto all = coverage((rule + "\nmeasure func=BPRM_CHECK").c_str());
    CHECK(all.is_measured);
    CHECK(all.restricted.empty());
  }
}

TEST_CASE("rules that leave files out are holes where they come first") {
  const auto holes = [](const std::string& policy) {
    return Of(CoverageOf(ParseImaPolicy(policy)), "BPRM_CHECK").holes;
  };
  const std::string measure = "measure func=BPRM_CHECK\n";
  for (const char* const pseudo :
       {"dont_measure fsmagic=0x9fa0\n", "dont_measure fsmagic=73636673\n",
        "dont_measure fsmagic=0x62656572 func=BPRM_CHECK\n"}) {
    CHECK(holes(pseudo + measure).empty());
  }
  CHECK(holes("dont_measure fsmagic=0x01021994\n" + measure) ==
        std::vector<std::string>{"dont_measure fsmagic=0x01021994 (tmpfs)"});
  CHECK(holes("dont_measure fsmagic=0x12345\n" + measure) ==
        std::vector<std::string>{"dont_measure fsmagic=0x12345 (0x12345)"});
  CHECK(holes("dont_measure obj_type=var_log_t\n" + measure).size() == 1);
  CHECK(holes("dont_measure fsname=tmpfs\n" + measure).size() == 1);
  CHECK(holes(measure + "dont_measure fsmagic=0x01021994\n").empty());
  CHECK(holes("dont_measure fsmagic=0x01021994 func=FILE_CHECK\n" + measure)
            .empty());
  // Nothing gets past a rule for everything.
  const auto none =
      Of(CoverageOf(ParseImaPolicy("dont_measure func=BPRM_CHECK\n" + measure)),
         "BPRM_CHECK");
  CHECK_FALSE(none.is_measured);
  CHECK(none.holes.size() == 1);
}

TEST_CASE("kernels for kexec are measured when root opens them") {
  const auto is_measured = [](const char* policy) {
    return Of(CoverageOf(ParseImaPolicy(policy)), "KEXEC_KERNEL_CHECK")
        .is_measured;
  };
  CHECK(is_measured("measure func=KEXEC_KERNEL_CHECK"));
  CHECK(is_measured("measure func=FILE_CHECK mask=^MAY_READ euid=0"));
  CHECK_FALSE(is_measured("measure func=FILE_CHECK mask=MAY_READ fowner=0"));
  CHECK_FALSE(is_measured("measure func=BPRM_CHECK"));
}

TEST_CASE("the kernel's own policy leaves tmpfs out") {
  CHECK(BuiltinImaRules({}, false).empty());
  CHECK(BuiltinImaRules({"secure_boot", "critical_data"}, false).empty());
  for (const bool legacy : {false, true}) {
    const auto coverage = CoverageOf(BuiltinImaRules(
        legacy ? std::vector<std::string>{} : std::vector<std::string>{"tcb"},
        legacy));
    REQUIRE(coverage.size() == 6);
    for (const ImaCoverage& one : coverage) {
      CHECK(one.is_measured);
      CHECK(one.holes ==
            std::vector<std::string>{"dont_measure fsmagic=0x1021994 (tmpfs)"});
    }
  }
}

}  // namespace
}  // namespace cupel::agent
