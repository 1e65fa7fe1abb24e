package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"edge-actions/internal/signature"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Namespace is the purpose of the signatures: one made with the same key for
// anything else is none of a ledger.
const Namespace = "edge-actions-evidence"

// maxLine bounds what is read into memory at once. An entry is a report and
// some outputs: a thousand nodes with fifty checks each are 10 MB.
const maxLine = 16 << 20

// A line is one object with a document under its name and the signature of
// exactly the bytes of that document:
//
//	{"entry":{…},"signature":"…"}
//
// Nothing in it can be written in a second way, so that there is no byte
// outside of the signature that could be changed.
const (
	signatureKey = `,"signature":"`
	lineEnd      = "\"}\n"
)

// seal returns the line of a document, with its newline.
func seal(name string, document any, signer ssh.Signer) ([]byte, error) {
	text, err := compact(document)
	if err != nil {
		return nil, err
	}
	sig, err := signature.Sign(text, signer, Namespace)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	line := fmt.Appendf(nil, `{"%s":%s%s%s%s`, name, text, signatureKey, base64.StdEncoding.EncodeToString(sig.Marshal()), lineEnd)
	if len(line) > maxLine {
		return nil, fmt.Errorf("it would be a line of %d bytes, and one has at most %d", len(line), maxLine)
	}
	return line, nil
}

// unseal takes a line with its newline apart. It does not verify the signature.
func unseal(name string, line []byte) (document []byte, sig *sshsig.Signature, err error) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"`+name+`":`))
	rest, ended := bytes.CutSuffix(rest, []byte(lineEnd))
	at := bytes.LastIndex(rest, []byte(signatureKey))
	if !ok || !ended || at < 0 {
		return nil, nil, errors.New("it does not have the form of one")
	}
	document, encoded := rest[:at], rest[at+len(signatureKey):]
	blob, err := base64.StdEncoding.DecodeString(string(encoded))
	// The decoder passes over line ends and unused bits.
	if err != nil || base64.StdEncoding.EncodeToString(blob) != string(encoded) {
		return nil, nil, errors.New("its signature is not base64")
	}
	if sig, err = signature.ParseBlob(blob); err != nil {
		return nil, nil, fmt.Errorf("its signature can't be read: %.200q", err.Error())
	}
	return document, sig, nil
}

// compact renders v on one line without the escapes that encoding/json makes
// for HTML: what a person reads in the file is what was said.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
