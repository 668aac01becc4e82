import Foundation
import Glibc
import TestSupport
import Testing

@testable import Steps

/// The script that sees to a certificate, run on this machine with a small authority of the test's own.
@Suite struct CertificateTests {
    private let folder: TestFolder

    init() throws {
        folder = try TestFolder()
        // ca: signs; site: as it should be; soon, past, future: by their dates; other: for another name.
        let script = """
            cd '\(folder.path)'
            key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }
            key ca && openssl req -x509 -new -key ca.key -subj /CN=ca -days 30 -out ca.pem
            key stranger && openssl req -x509 -new -key stranger.key -subj /CN=stranger -days 30 -out stranger.pem
            mkdir issued && : >index && echo 01 >serial
            cat >ca.conf <<'END'
            [ca]
            default_ca = d
            [d]
            database = index
            serial = serial
            new_certs_dir = issued
            certificate = ca.pem
            private_key = ca.key
            default_md = sha256
            policy = p
            copy_extensions = copy
            unique_subject = no
            [p]
            commonName = supplied
            END
            issue() { # NAME HOST FROM TO
                key "$1"
                openssl req -new -key "$1.key" -subj "/CN=$2" -addext "subjectAltName=DNS:$2" -out "$1.csr"
                openssl ca -config ca.conf -batch -notext -startdate "$3" -enddate "$4" -in "$1.csr" -out "$1.pem" 2>/dev/null
            }
            day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
            issue site www.example.org "$(day -1day)" "$(day +60days)"
            issue month www.example.org "$(day -1day)" "$(day +20days)"
            issue wild '*.example.org' "$(day -1day)" "$(day +60days)"
            issue soon www.example.org "$(day -1day)" "$(day +3days)"
            issue past www.example.org "$(day -9days)" "$(day -1day)"
            issue future www.example.org "$(day +2days)" "$(day +60days)"
            issue other mail.example.org "$(day -1day)" "$(day +60days)"
            """
        try tool("sh", "-euc", script)
    }

    private func see(to names: String = "www.example.org", stdin: String = "", _ more: [String: String] = [:]) throws -> ScriptOutcome {
        let environment = [
            "NAMES": names, "CERTIFICATE": folder.file("tls/fullchain.pem"), "KEY": folder.file("tls/key.pem"), "OWNER": account, "GROUP": group,
            "KEY_MODE": "0600", "VALID_FOR": "604800", "CA_FILE": folder.file("ca.pem"), "RESTORE": stdin.isEmpty ? "none" : "secret", "RESTORE_FOLDER": "",
            "ACME": "0", "SERVER": "https://127.0.0.1:9/", "EMAIL": "", "WEBROOT": "", "STOP_SERVICE": "", "RELOAD_SERVICE": "", "ACME_CA_FILE": "", "ADDRESSES": "",
        ].merging(more) { $1 }
        let script = CertificateScript.text.replacing("/etc/letsencrypt", with: folder.file("letsencrypt"))
        return try runLocally(script, environment, stdin: Array(stdin.utf8), in: folder.path)
    }

    private var account: String { String(cString: getpwuid(geteuid()).pointee.pw_name) }
    private var group: String { String(cString: getgrgid(getegid()).pointee.gr_name) }
    private func pair(_ certificate: String, _ key: String? = nil) -> String { folder.text("\(certificate).pem")! + "\n" + folder.text("\(key ?? certificate).key")! }

    private func expectRefused(_ outcome: ScriptOutcome, _ why: String, location: SourceLocation = #_sourceLocation) {
        let line = outcome.complained.split(separator: "\n").last ?? ""
        #expect(outcome.status == 65 && line.contains(why), "\(outcome)", sourceLocation: location)
        #expect(folder.tree("tls").isEmpty, "something was put in place", sourceLocation: location)
    }

    @Test func aKeptCertificateIsPutInItsPlaceAndASecondRunChangesNothing() throws {
        let first = try see(stdin: pair("site"))
        #expect(first.status == 0 && first.changes.count == 1 && !first.said.contains("warning"), "\(first)")
        #expect(folder.text("tls/fullchain.pem") == folder.text("site.pem") && folder.text("tls/key.pem") == folder.text("site.key"))
        #expect(folder.mode("tls/key.pem") == S_IFREG | 0o600 && folder.mode("tls/fullchain.pem") == S_IFREG | 0o644)
        let tree = folder.tree("tls")
        // What stands there and can be used is left alone, whatever was kept.
        for kept in [pair("site"), pair("past")] {
            let second = try see(stdin: kept)
            #expect(second.status == 0 && second.changes.isEmpty && second.said.contains("valid until"), "\(second)")
            #expect(folder.tree("tls") == tree)
        }
    }

    @Test func theChainComesAlongAndAFolderServesToo() throws {
        try folder.write(folder.text("site.pem")! + folder.text("ca.pem")!, to: "kept/fullchain.pem")
        try folder.write(folder.text("site.key")!, to: "kept/privkey.pem")
        let outcome = try see(["RESTORE": "folder", "RESTORE_FOLDER": folder.file("kept")])
        #expect(outcome.status == 0 && folder.text("tls/fullchain.pem") == folder.text("kept/fullchain.pem"), "\(outcome)")
    }

    @Test func whatCannotBeUsedIsNotPutInPlace() throws {
        expectRefused(try see(stdin: pair("past")), "ended on")
        expectRefused(try see(stdin: pair("soon")), "ends soon")
        expectRefused(try see(stdin: pair("future")), "not valid before")
        expectRefused(try see(stdin: pair("other")), "not for www.example.org")
        expectRefused(try see(to: "www.example.org\nmail.example.org", stdin: pair("site")), "not for mail.example.org")
        expectRefused(try see(stdin: pair("site", "other")), "the key is not the certificate's")
        expectRefused(try see(stdin: pair("site"), ["CA_FILE": folder.file("stranger.pem")]), "does not lead to")
        expectRefused(try see(stdin: "nothing"), "holds no certificate")
        expectRefused(try see(stdin: folder.text("site.pem")!), "holds no private key")
        expectRefused(try see(["RESTORE": "folder", "RESTORE_FOLDER": folder.file("nowhere")]), "has no fullchain.pem")
        expectRefused(try see(), "names neither")
    }

    @Test func aKeyWithAPasswordIsNamedAndNobodyIsAsked() throws {
        try tool("openssl", "pkey", "-in", folder.file("site.key"), "-aes256", "-passout", "pass:x", "-out", folder.file("locked.key"))
        expectRefused(try see(stdin: pair("site", "locked")), "without a password")
    }

    @Test func oneForAllNamesBelowADomainServes() throws {
        #expect(try see(stdin: pair("wild")).status == 0)
        #expect(try see(to: "*.example.org").status == 0, "the same, asked for by its own name")
        expectRefusedInPlace(try see(to: "example.org"))
    }

    private func expectRefusedInPlace(_ outcome: ScriptOutcome) { #expect(outcome.status == 65 && outcome.complained.contains("not for example.org"), "\(outcome)") }

    @Test func oneThatWasNotPutWhollyInPlaceIsPutThereAgain() throws {
        try folder.write(folder.text("other.pem")!, to: "tls/fullchain.pem")
        try folder.write(folder.text("site.key")!, to: "tls/key.pem")
        let outcome = try see(stdin: pair("site"))
        #expect(outcome.status == 0 && outcome.changes.first?.contains("not the certificate's") == true, "\(outcome)")
    }

    @Test func itsOwnerAndModeAreMendedAndASignerWhomNobodyTrustsIsAWarning() throws {
        _ = try see(stdin: pair("site"))
        chmod(folder.file("tls/key.pem"), 0o644)
        let outcome = try see(["CA_FILE": ""])
        #expect(outcome.status == 0 && outcome.changes.count == 1 && folder.mode("tls/key.pem") == S_IFREG | 0o600, "\(outcome)")
        #expect(outcome.said.contains("warning: nobody whom this host trusts"))
    }

    /// An authority that the host trusts for other things is nobody whom `ca-file` names.
    @Test func whoIsTrustedByTheHostAloneIsNotTrusted() throws {
        try tool("sh", "-c", "mkdir '\(folder.path)/trusted' && cp '\(folder.path)/ca.pem' '\(folder.path)/trusted' && openssl rehash '\(folder.path)/trusted'")
        let trusting = ["SSL_CERT_DIR": folder.file("trusted")]
        let known = try see(stdin: pair("site"), trusting.merging(["CA_FILE": ""]) { $1 })
        #expect(known.status == 0 && !known.said.contains("nobody whom this host trusts"), "\(known)")
        try FileManager.default.removeItem(atPath: folder.file("tls"))
        expectRefused(try see(stdin: pair("site"), trusting.merging(["CA_FILE": folder.file("stranger.pem")]) { $1 }), "does not lead to")
    }

    // MARK: Who renews it

    /// A copy serves until it ends, and nobody would say so before.
    @Test func ofACopyItIsSaidThatNobodyRenewsIt() throws {
        let end = try see(stdin: pair("site"))
        #expect(end.changes.first?.contains("valid until") == true && end.said.contains("evidence:") && end.said.contains("certbot does not renew it"), "\(end)")
        #expect(!end.said.contains("warning"), "\(end)")
        let acme = try fakeCertbot("exit 1")
        let named = try see(stdin: pair("site"), acme)
        #expect(named.status == 0 && named.changes.isEmpty && named.said.contains("warning: certbot does not renew the certificate, which ends on"), "\(named)")
        try FileManager.default.removeItem(atPath: folder.file("tls"))
        for more in [[:], acme] {
            let month = try see(stdin: pair("month"), more)
            #expect(month.status == 0 && month.said.contains("warning: certbot does not renew the certificate, which ends on"), "\(month)")
        }
    }

    /// A lineage of certbot's, as it issued one before, with the links of the step.
    private func lineage(_ settings: String = "") throws -> [String: String] {
        let live = "letsencrypt/live/www.example.org"
        try folder.write(folder.text("month.pem")!, to: "\(live)/fullchain.pem")
        try folder.write(folder.text("month.key")!, to: "\(live)/privkey.pem")
        try folder.write("[renewalparams]\n\(settings)\n", to: "letsencrypt/renewal/www.example.org.conf")
        try FileManager.default.createDirectory(atPath: folder.file("tls"), withIntermediateDirectories: true)
        symlink(folder.file("\(live)/fullchain.pem"), folder.file("tls/fullchain.pem"))
        symlink(folder.file("\(live)/privkey.pem"), folder.file("tls/key.pem"))
        return try fakeCertbot("exit 1").merging(["RELOAD_SERVICE": "nginx"]) { $1 }
    }

    @Test func whatCertbotRenewsIsToldApartFromACopy() throws {
        var acme = try lineage("renew_hook = service nginx reload")
        let renewed = try see(acme)
        #expect(renewed.status == 0 && renewed.changes.isEmpty && !renewed.said.contains("warning") && !renewed.said.contains("does not renew"), "\(renewed)")
        #expect(folder.mode("letsencrypt/renewal-hooks") == nil)
        acme["ACME"] = "0"
        #expect(try !see(acme).said.contains("does not renew"), "named by its place under live alone")
        if !FileManager.default.fileExists(atPath: "/usr/bin/certbot") {
            try FileManager.default.removeItem(atPath: folder.file("bin/certbot"))
            #expect(try see(acme).said.contains("warning: certbot does not renew"), "there is no certbot")
        }
    }

    /// It was issued before the plan named the service: certbot would renew it, and nobody would take it up.
    @Test func theServiceIsReloadedAlsoAfterRenewalsOfAnOlderCertificate() throws {
        let acme = try lineage("renew_hook = service apache2 reload")
        let first = try see(acme), hook = "letsencrypt/renewal-hooks/deploy/reprise-reload-nginx"
        #expect(first.status == 0 && first.changes == ["certbot reloads nginx after each renewal"], "\(first)")
        #expect(folder.mode(hook) == S_IFREG | 0o755)
        try folder.write("#!/bin/sh\necho \"$@\" >'\(folder.file("reloaded"))'\n", to: "bin/service", mode: 0o755)
        #expect(try runLocally("exec '\(folder.file(hook))'", ["PATH": folder.file("bin") + ":/usr/bin:/bin"], in: folder.path).status == 0)
        #expect(folder.text("reloaded") == "nginx reload\n")
        let tree = folder.tree("letsencrypt"), second = try see(acme)
        #expect(second.status == 0 && second.changes.isEmpty && folder.tree("letsencrypt") == tree, "\(second)")
    }

    // MARK: A new one, with a certbot that issues what the test has

    private func fakeCertbot(_ body: String) throws -> [String: String] {
        try folder.write("#!/bin/sh\nprintf '%s\\n' \"$@\" >'\(folder.file("asked"))'\n\(body)\n", to: "bin/certbot", mode: 0o755)
        return ["ACME": "1", "PATH": folder.file("bin") + ":/usr/bin:/bin"]
    }

    @Test func whereTheDNSDoesNotLeadHereItIsSaidAndTheIssuerIsNotAsked() throws {
        let acme = try fakeCertbot("exit 0")
        // RFC 6761: this name never resolves.
        let unknown = try see(to: "www.invalid", acme)
        #expect(unknown.status == 1 && unknown.complained.contains("www.invalid has no address in the DNS"), "\(unknown)")
        // An address is its own name, and so leads elsewhere without a name server.
        let elsewhere = try see(to: "192.0.2.7", acme)
        #expect(elsewhere.status == 1 && elsewhere.complained.contains("leads to 192.0.2.7, not to this host"), "\(elsewhere)")
        #expect(folder.mode("asked") == nil)
        let wild = try see(to: "*.example.org", acme)
        #expect(wild.status == 65 && wild.complained.contains("DNS challenge"), "\(wild)")
    }

    @Test func anIssuerThatRefusesLeavesAnotherTry() throws {
        let acme = try fakeCertbot("echo 'too many certificates' >&2; exit 1").merging(["ADDRESSES": "192.0.2.7", "EMAIL": "x@example.org"]) { $1 }
        let outcome = try see(to: "192.0.2.7", stdin: pair("past"), acme)
        #expect(outcome.status == 1 && outcome.complained.contains("too many certificates"), "\(outcome)")
        #expect(outcome.said.contains("warning: the certificate that was kept cannot be used"))
        #expect(folder.text("asked")?.contains("--email\nx@example.org") == true)
        #expect(folder.text("asked")?.contains("--pre-hook") == false)
        #expect(folder.tree("tls").isEmpty)
    }

    @Test func whatHoldsPort80IsStoppedForTheIssuerAndForEachRenewal() throws {
        let acme = try fakeCertbot("exit 1").merging(["ADDRESSES": "192.0.2.7", "STOP_SERVICE": "nginx"]) { $1 }
        #expect(try see(to: "192.0.2.7", acme).status == 1)
        #expect(folder.text("asked")?.contains("--standalone\n--pre-hook\nservice nginx stop\n--post-hook\nservice nginx start\n") == true)
    }

    /// What certbot is told once, it does at every renewal. A server that goes on serving the old one would do so until that ends.
    @Test func theWebServerTakesUpWhatIsRenewed() throws {
        var acme = try fakeCertbot("exit 1").merging(["ADDRESSES": "192.0.2.7", "WEBROOT": "/srv/site", "RELOAD_SERVICE": "nginx"]) { $1 }
        let named = try see(to: "192.0.2.7", acme)
        #expect(folder.text("asked")?.contains("--webroot\n--webroot-path\n/srv/site\n--deploy-hook\nservice nginx reload\n") == true)
        #expect(!named.said.contains("warning"))
        acme["RELOAD_SERVICE"] = ""
        let nobody = try see(to: "192.0.2.7", acme)
        #expect(folder.text("asked")?.contains("--deploy-hook") == false && nobody.said.contains("warning: nothing makes the web server take up"))
    }

    @Test(arguments: ["", "example", "-x.org", "a b.org", "a..org", "x.*.org", "a/b.org", "$(id).org"])
    func whatIsNoHostNameIsRefused(name: String) { #expect(!CertificateStep.isName(name)) }

    @Test(arguments: ["example.org", "*.example.org", "xn--bcher-kva.example", "a-b.c1.org"])
    func hostNamesAreTaken(name: String) { #expect(CertificateStep.isName(name)) }
}
