// The certificates of a deployment: made once by `init`, replaced by `renew`.
//
//   DIR/ca/certificate.pem, key.pem         the CA of servers
//   DIR/client-ca/certificate.pem, key.pem  the CA of operators, and of nothing
//                                           else
//   DIR/server/certificate.pem, key.pem     what the verifier shows
//   DIR/operator/certificate.pem, key.pem   an operator, with
//                ca.pem                     the CA of servers: this folder is
//                                           all that an operator needs
//   DIR/NAME/...                            further operators
//
// Folders have the mode 0700 (but see service_user), keys 0600, certificates
// 0644. Each pair stands in
// a folder of its own, which is replaced as a whole: nobody ever finds a
// certificate beside another one's key, whenever the power goes.
#ifndef CUPEL_VERIFIER_PKI_PKI_H_
#define CUPEL_VERIFIER_PKI_PKI_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/pki/operator_identity.h"

namespace cupel::verifier {

struct Lifetimes {
  absl::Duration ca = absl::Hours(24 * 3650);
  absl::Duration leaf = absl::Hours(24 * 397);
};

struct InitOptions {
  std::string dir;
  // What agents and operators know the verifier by; at least one.
  std::vector<std::string> dns_names = {};
  std::vector<std::string> addresses = {};
  std::string tenant = "default";
  OperatorRole role = OperatorRole::kAdmin;
  // Whom the verifier runs as: the folder `server` is then theirs, and `dir`
  // and `client-ca` have the mode 0711, so that the certificate of the
  // operators' CA can be read, and no key. Empty: all belongs to the caller.
  std::string service_user = {};
  Lifetimes lifetimes = {};
};

// Makes all of the above in `options.dir`, in one step: all of it or nothing.
// Its parent is made where it is missing.
//
// kAlreadyExists, with the cure, if there is anything in that folder: nothing
// is ever overwritten. kInvalidArgument for names that are not well-formed or
// none at all, and for a user whom this system doesn't know. kPermissionDenied
// where the caller may not give files away; that, kUnavailable where the disk
// says so.
absl::Status InitPki(const InitOptions& options, absl::Time now);

// Makes the operator DIR/`name`. Errors as InitPki; kNotFound if there is no
// PKI in `dir`.
absl::Status IssueOperator(const std::string& dir, const std::string& name,
                           absl::string_view tenant, OperatorRole role,
                           absl::Time now, const Lifetimes& lifetimes = {});

struct Renewed {
  std::string folder;
  absl::Time not_after;
};

// Replaces the server's certificate and those of all operators in `dir` by new
// ones, with new keys and the same names, made out by the same CAs. Owner and
// group of each file stay. What was replaced is valid until it ends by itself:
// an operator's key that got lost belongs on the deny list.
//
// kNotFound if there is no PKI in `dir`; kFailedPrecondition if a CA has
// expired, kInvalidArgument if a certificate is malformed or names something
// else than init gives, kPermissionDenied if an operator's carries no identity
// (OperatorIdentityFromPem). After an error those before it have been renewed,
// each as a whole.
absl::StatusOr<std::vector<Renewed>> RenewPki(const std::string& dir,
                                              absl::Time now,
                                              const Lifetimes& lifetimes = {});

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_PKI_H_
