package import Glibc

/// Attributes for `posix_spawn` with which a child can be ended: the threads that run tests block signals, and a child inherits that.
///
/// - Parameter flags: more of `POSIX_SPAWN_…`.
package func withSpawnAttributes<Value>(flags: Int32 = 0, _ body: (UnsafePointer<posix_spawnattr_t>) throws -> Value) rethrows -> Value {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | flags))
    return try body(&attributes)
}

/// Waits for the end of a child.
///
/// - Returns: as a shell says it: the exit status, or 128 and the number of the signal that ended it.
package func waitForEnd(of process: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
}
