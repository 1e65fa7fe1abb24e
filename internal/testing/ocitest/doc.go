// Package ocitest is a double of Oracle Cloud's API: the part of Compute, the
// virtual network and Bastion that package oci asks, on loopback, with a world
// that tests build in a few lines and with every fault that a network or a
// cloud has.
//
// Whose contract it follows:
//   - Signatures as OCI documents them (API Request Signatures): GET and DELETE
//     sign date, (request-target) and host, POST and PUT also content-length,
//     content-type and x-content-sha256; the Date may be 5 minutes off the
//     server's clock. Every request is checked; whatever is wrong is a 401
//     NotAuthenticated. Both the keys of users and session tokens (ST$…) sign.
//   - Paths, bodies and headers as the SDK's models have them (v65.129.0):
//     20160918 for core, 20210331 for bastion; lists are bare arrays, paged by
//     limit and opc-next-page; every answer has an opc-request-id and a Date.
//   - Errors as {code,message}. What does not exist and what was forbidden
//     have the same 404 NotAuthorizedOrNotFound.
//   - Limits: 25 rules in one add or remove, 120 rules of both directions in a
//     group, 5 groups on an interface, 255 characters in a description; a
//     bastion's session lives from 30 minutes to 3 hours.
//
// The flaws that it keeps, because the real one has them:
//   - an added rule has no token: the same add twice is two rules;
//   - a volume attachment shows its CHAP secret;
//   - a terminated instance and a detached interface stay listed;
//   - a list may lag behind a change (Eventual);
//   - a session is CREATING first, and the server ends it.
//
// What is not documented, and how it is here: a remove that names a rule which
// is not there is a 400 InvalidParameter and removes nothing (GoneRule sets
// another answer).
//
// What it leaves out: policies (Forbid hides single objects), tags, etags,
// eventual answers of other things than rules, regions, realms, rate limits of
// its own, x-date, the metadata service, and all traffic: Allowed says what the
// rules let through, and OnChange lets a test set a real packet filter to it.
package ocitest
