//! Certificates as the settings name them, brought into the forms that the client library takes. Pure.

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;
use secrecy::{ExposeSecret, SecretString};

/// What stands in a PEM file and in no DER file.
const PEM_MARK: &[u8] = b"-----BEGIN ";

/// The archive is made and opened within this process: its password keeps nothing from anybody. OpenSSL can't open one without.
const ARCHIVE_PASSWORD: &str = "millrace";

/// A certificate with its key, as PKCS#12, and what opens it.
pub(super) struct Identity {
    pub(super) archive: Vec<u8>,
    pub(super) password: String,
}

/// Checks the authorities to trust: PEM with one certificate or many, or DER with one. The library takes what it doesn't understand for no
/// certificate at all, and the connection would fail without a word of the file.
///
/// # Errors
///
/// What is wrong with the file.
pub(super) fn authorities(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let found = match is_pem(&bytes) {
        true => X509::stack_from_pem(&bytes).map_err(|error| told("a certificate in it can't be read", &error))?.len(),
        false => X509::from_der(&bytes).map(|_| 1).unwrap_or(0),
    };
    if found == 0 { Err("it has no certificate, neither as PEM nor as DER".to_owned()) } else { Ok(bytes) }
}

/// Our certificate and its key: a PKCS#12 archive, or PEM, where the certificate comes first, those that lead to its authority after it, and the key
/// in the same file or in one of its own. The password opens the archive or the key.
///
/// # Errors
///
/// What is wrong with the files.
pub(super) fn identity(certificate: Vec<u8>, key: Option<Vec<u8>>, password: Option<&SecretString>) -> Result<Identity, String> {
    let password = password.map(ExposeSecret::expose_secret);
    if !is_pem(&certificate) {
        if key.is_some() {
            return Err("it is not PEM, but source.tls.client_key_file is given beside it".to_owned());
        }
        let archive = Pkcs12::from_der(&certificate).map_err(|error| told("it is neither PEM nor PKCS#12", &error))?;
        archive
            .parse2(password.unwrap_or_default())
            .map_err(|error| told("it can't be opened with client_certificate_password", &error))?;
        return Ok(Identity { archive: certificate, password: password.unwrap_or_default().to_owned() });
    }
    let key = key.as_deref().unwrap_or(&certificate);
    let key = match password {
        Some(password) => PKey::private_key_from_pem_passphrase(key, password.as_bytes()),
        // Without a callback OpenSSL would ask on the terminal.
        None => PKey::private_key_from_pem_callback(key, |_| Ok(0)),
    };
    let key = key.map_err(|error| told("its key can't be read; if it is encrypted, set client_certificate_password", &error))?;
    let mut chain = X509::stack_from_pem(&certificate).map_err(|error| told("a certificate in it can't be read", &error))?.into_iter();
    let own = chain.next().ok_or("it has no certificate")?;
    if !own.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err("its first certificate and the key don't belong together".to_owned());
    }
    let archive = archive(own, chain, &key).map_err(|error| told("it can't be used", &error))?;
    Ok(Identity { archive, password: ARCHIVE_PASSWORD.to_owned() })
}

fn archive(own: X509, others: impl Iterator<Item = X509>, key: &PKey<openssl::pkey::Private>) -> Result<Vec<u8>, ErrorStack> {
    let mut rest = openssl::stack::Stack::new()?;
    for certificate in others {
        rest.push(certificate)?;
    }
    let mut builder = Pkcs12::builder();
    builder.pkey(key).cert(&own).ca(rest);
    // Ciphers that every build of OpenSSL has, with no rounds to speak of: nobody else sees the archive.
    builder.key_algorithm(Nid::AES_256_CBC).cert_algorithm(Nid::AES_256_CBC).key_iter(1);
    builder.build2(ARCHIVE_PASSWORD)?.to_der()
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(PEM_MARK.len()).any(|window| window == PEM_MARK)
}

/// The reason without OpenSSL's numbers and places.
fn told(what: &str, error: &ErrorStack) -> String {
    match error.errors().iter().rev().find_map(openssl::error::Error::reason) {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::Private;
    use openssl::symm::Cipher;
    use openssl::x509::X509Name;

    use super::*;

    fn pair() -> (X509, PKey<Private>) {
        let group = openssl::ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("CN", "a test").unwrap();
        let name = name.build();
        let mut certificate = X509::builder().unwrap();
        certificate.set_subject_name(&name).unwrap();
        certificate.set_issuer_name(&name).unwrap();
        certificate.set_pubkey(&key).unwrap();
        certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        certificate.sign(&key, MessageDigest::sha256()).unwrap();
        (certificate.build(), key)
    }

    /// What OpenSSL finds in the archive: whether the certificate is ours, and how many others.
    fn opened(identity: &Identity, own: &X509) -> (bool, usize) {
        let parsed = Pkcs12::from_der(&identity.archive).unwrap().parse2(&identity.password).unwrap();
        (parsed.cert.is_some_and(|cert| cert.to_der().unwrap() == own.to_der().unwrap()), parsed.ca.map_or(0, |ca| ca.len()))
    }

    #[test]
    fn a_certificate_and_its_key_come_in_any_form() {
        let (own, key) = pair();
        let (other, _) = pair();
        let (own_pem, key_pem) = (own.to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap());
        let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"word").unwrap();
        let word = SecretString::from("word");
        let both = [own_pem.clone(), key_pem.clone()].concat();
        let chain = [own_pem.clone(), other.to_pem().unwrap()].concat();
        assert_eq!(opened(&identity(both, None, None).unwrap(), &own), (true, 0));
        assert_eq!(opened(&identity(own_pem.clone(), Some(key_pem.clone()), None).unwrap(), &own), (true, 0));
        assert_eq!(opened(&identity(own_pem, Some(locked), Some(&word)).unwrap(), &own), (true, 0));
        assert_eq!(opened(&identity(chain, Some(key_pem), None).unwrap(), &own), (true, 1));
        let archive = Pkcs12::builder().pkey(&key).cert(&own).build2("word").unwrap().to_der().unwrap();
        assert_eq!(opened(&identity(archive, None, Some(&word)).unwrap(), &own), (true, 0));
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let (own, key) = pair();
        let (_, stranger) = pair();
        let (own_pem, key_pem) = (own.to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap());
        let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"word").unwrap();
        let archive = Pkcs12::builder().pkey(&key).cert(&own).build2("word").unwrap().to_der().unwrap();
        let wrong = SecretString::from("wrong");
        let cases = [
            (b"junk".to_vec(), None::<Vec<u8>>, None, "neither PEM nor PKCS#12"),
            (archive.clone(), None, Some(&wrong), "client_certificate_password"),
            (archive, Some(key_pem.clone()), None, "client_key_file"),
            (own_pem.clone(), None, None, "key can't be read"),
            (own_pem.clone(), Some(locked), None, "client_certificate_password"),
            (own_pem, Some(stranger.private_key_to_pem_pkcs8().unwrap()), None, "don't belong together"),
            (key_pem, None, None, "no certificate"),
        ];
        for (certificate, key, password, word) in cases {
            let error = identity(certificate, key, password).err().unwrap();
            assert!(error.contains(word) && !error.contains('\n'), "{word}: {error}");
        }
    }

    #[test]
    fn a_bundle_has_at_least_one_certificate_and_all_can_be_read() {
        let (own, key) = pair();
        let pem = own.to_pem().unwrap();
        assert!(authorities(pem.clone()).is_ok());
        assert!(authorities([pem.clone(), pair().0.to_pem().unwrap()].concat()).is_ok());
        assert!(authorities(own.to_der().unwrap()).is_ok());
        let broken = String::from_utf8(pem.clone()).unwrap().replacen("MII", "XXX", 1);
        for junk in [Vec::new(), b"junk".to_vec(), key.private_key_to_pem_pkcs8().unwrap(), [pem, broken.into_bytes()].concat()] {
            assert!(authorities(junk.clone()).is_err(), "{}", String::from_utf8_lossy(&junk));
        }
    }
}
