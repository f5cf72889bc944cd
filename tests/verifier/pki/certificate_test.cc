#include "verifier/pki/certificate.h"

#include <string>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::verifier {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
const Validity kValidity = {kNow - absl::Hours(1), kNow + absl::Hours(1)};

KeyPair Ca() {
  auto ca = MakeCa("a CA", CertificateUse::kServer, kValidity);
  REQUIRE_THAT(StatusOf(ca), IsOk());
  return *std::move(ca);
}

TEST_CASE("What a leaf is made out to can be read again") {
  const LeafNames names = {.common_name = "\xc3\xa4, CN=x",
                           .dns_names = {"localhost", "a-1.example.org"},
                           .addresses = {"127.0.0.1", "::1"},
                           .uri = "a:b,c"};
  const auto leaf = MakeLeaf(Ca(), CertificateUse::kServer, names, kValidity);
  REQUIRE_THAT(StatusOf(leaf), IsOk());
  CHECK(*ReadNames(*leaf->certificate) == names);
  CHECK(*NotBefore(*leaf->certificate) == kValidity.not_before);
  CHECK(*NotAfter(*leaf->certificate) == kValidity.not_after);
}

TEST_CASE("Names that are not well-formed are refused") {
  const auto make = [](LeafNames names) {
    names.common_name = "x";
    return StatusOf(MakeLeaf(Ca(), CertificateUse::kServer, names, kValidity));
  };
  CHECK_THAT(make({.common_name = {},
                   .dns_names = {"a.example"},
                   .addresses = {},
                   .uri = {}}),
             IsOk());
  for (const std::string& name :
       {std::string(), std::string("*.example"), std::string("a_b"),
        std::string("a b"), std::string("a..b"), std::string("-a"),
        std::string("a-"), std::string("a."), std::string("127.0.0.1"),
        std::string("a,DNS:b"), std::string("a\0b", 3), std::string(64, 'a')}) {
    CAPTURE(name);
    CHECK_THAT(make({.common_name = {},
                     .dns_names = {name},
                     .addresses = {},
                     .uri = {}}),
               StatusIs(StatusCode::kInvalidArgument, "no DNS name"));
  }
  for (const char* address : {"", "localhost", "1.2.3", "1.2.3.4/8", "::1%eth0",
                              "[::1]", "1.2.3.256"}) {
    CAPTURE(address);
    CHECK_THAT(make({.common_name = {},
                     .dns_names = {},
                     .addresses = {address},
                     .uri = {}}),
               StatusIs(StatusCode::kInvalidArgument, "no IPv4 or IPv6"));
  }
  CHECK_THAT(make({}), StatusIs(StatusCode::kInvalidArgument));
}

TEST_CASE("A leaf ends with its CA, and an expired CA issues none") {
  const LeafNames names = {
      .common_name = "x", .dns_names = {"a"}, .addresses = {}, .uri = {}};
  const auto leaf = MakeLeaf(Ca(), CertificateUse::kServer, names,
                             {kNow, kNow + absl::Hours(100)});
  REQUIRE_THAT(StatusOf(leaf), IsOk());
  CHECK(*NotAfter(*leaf->certificate) == kValidity.not_after);
  CHECK_THAT(StatusOf(MakeLeaf(Ca(), CertificateUse::kServer, names,
                               {kNow + absl::Hours(1), kNow + absl::Hours(2)})),
             StatusIs(StatusCode::kFailedPrecondition, "expired"));
}

TEST_CASE("Text that is no PEM is refused, and no passphrase is asked for") {
  CHECK_THAT(StatusOf(CertificateFromPem("")),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(KeyFromPem("")), StatusIs(StatusCode::kInvalidArgument));
  const KeyPair ca = Ca();
  CHECK_THAT(StatusOf(KeyFromPem(*CertificateToPem(*ca.certificate))),
             StatusIs(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace cupel::verifier
