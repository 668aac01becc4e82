import ObjectStorage
import RunCore

/// Fetches an object as the `fetch-backup` step does on the orchestrator: in parallel ranges, flushed to the disk, hashed.
///
/// - Parameter words: endpoint, bucket, key, file, credentials file, profile.
func measureFetch(_ words: [String]) async throws {
    let location = try S3Location(bucket: words[1], prefix: "", region: "us-east-1", endpoint: Endpoint(words[0]), addressing: .path)
    let store = S3Store(
        location,
        credentials: CredentialChain.standard(profile: words[5], credentialsPath: words[4], configPath: nil, environment: [:]))
    let start = ContinuousClock.now
    let version = try await store.head(words[2])
    let file = try await Fetch(from: store).fetch(version, to: words[3])
    let taken = seconds(ContinuousClock.now - start)
    say("bytes=\(file.sizeBytes) sha256=\(file.sha256) seconds=\(taken) retries=\(file.retries)")
}
