internal import Synchronization

/// The newest of something, from whatever task or thread.
package final class Latest<Value: Sendable>: Sendable {
    private let state = Mutex<Value?>(nil)

    package init() {}

    /// nil as long as there was none.
    package var value: Value? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
