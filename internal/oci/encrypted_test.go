package oci_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"testing"
)

// encryptedPKCS8 is a key as openssl pkcs8 -topk8 -v2 aes256 writes it: PBES2
// of RFC 8018 with PBKDF2, HMAC-SHA-256 and AES-256-CBC.
func encryptedPKCS8(t *testing.T, key *rsa.PrivateKey, passphrase string) []byte {
	t.Helper()
	must := func(v []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	der := must(x509.MarshalPKCS8PrivateKey(key))
	salt, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	const rounds = 2048
	block, err := aes.NewCipher(must(pbkdf2.Key(sha256.New, passphrase, salt, rounds, 32)))
	if err != nil {
		t.Fatal(err)
	}
	padding := aes.BlockSize - len(der)%aes.BlockSize
	for range padding {
		der = append(der, byte(padding))
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(der, der)
	raw := func(v any) asn1.RawValue { return asn1.RawValue{FullBytes: must(asn1.Marshal(v))} }
	type kdf struct {
		Salt   []byte
		Rounds int
		PRF    pkix.AlgorithmIdentifier
	}
	type scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	info := struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, Parameters: raw(scheme{
			pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, Parameters: raw(kdf{salt, rounds, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, Parameters: asn1.NullRawValue}})},
			pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, Parameters: raw(iv)},
		})},
		der,
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: must(asn1.Marshal(info))})
}

// encryptedPEM is a key as openssl rsa -aes128 -traditional writes it.
func encryptedPEM(t *testing.T, key *rsa.PrivateKey, passphrase string) []byte {
	t.Helper()
	block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), []byte(passphrase), x509.PEMCipherAES128) //nolint:staticcheck // such keys are still in use
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}
