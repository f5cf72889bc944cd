// TLS credentials of a listener whose certificate may be replaced while it
// runs.
#ifndef CUPEL_VERIFIER_RPC_LISTENER_CREDENTIALS_H_
#define CUPEL_VERIFIER_RPC_LISTENER_CREDENTIALS_H_

#include <memory>
#include <string>

#include "grpcpp/security/server_credentials.h"
#include "verifier/pki/served_certificate.h"

namespace cupel::verifier {

// Shows each new connection what `served` holds at that moment; those that are
// open go on as they are. With a `client_ca`, PEM, the peer must have a
// certificate of it; with an empty one the peer is asked for none.
//
// `served` and the result must outlive the server.
std::shared_ptr<grpc::ServerCredentials> ListenerCredentials(
    const ServedCertificate& served, std::string client_ca);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_LISTENER_CREDENTIALS_H_
