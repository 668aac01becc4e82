#include <curl/curl.h>

// Swift imports no variadic functions, so each option type that Reprise sets has a function of its own.
static inline CURLcode reprise_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode reprise_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode reprise_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return curl_easy_setopt(handle, option, value);
}
typedef size_t (*reprise_curl_data_callback)(char *, size_t, size_t, void *);
static inline CURLcode reprise_curl_set_data_callback(CURL *handle, CURLoption option, reprise_curl_data_callback value) {
    return curl_easy_setopt(handle, option, value);
}
typedef int (*reprise_curl_progress_callback)(void *, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
static inline CURLcode reprise_curl_set_progress_callback(CURL *handle, reprise_curl_progress_callback value) {
    return curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, value);
}
static inline CURLcode reprise_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}
static inline CURLcode reprise_curl_get_offset(CURL *handle, CURLINFO info, curl_off_t *value) {
    return curl_easy_getinfo(handle, info, value);
}
static inline CURLcode reprise_curl_get_string(CURL *handle, CURLINFO info, const char **value) {
    return curl_easy_getinfo(handle, info, value);
}
// The server's own certificate as lines `Name:value`; null where none was asked for. Belongs to the handle.
static inline struct curl_slist *reprise_curl_first_certificate(CURL *handle) {
    struct curl_certinfo *chain = NULL;
    if (curl_easy_getinfo(handle, CURLINFO_CERTINFO, &chain) != CURLE_OK || !chain || chain->num_of_certs < 1) return NULL;
    return chain->certinfo[0];
}
static inline CURLcode reprise_curl_message_result(const CURLMsg *message) {
    return message->data.result;
}
