<?php

// The framework is Debian's php-laravel-framework, not a copy under vendor/.
require_once '/usr/share/php/Illuminate/autoload.php';
