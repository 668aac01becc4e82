<?php

return [
    'default' => 'single',
    'deprecations' => 'null',
    'channels' => [
        // Written by the web server's user and by root, who runs artisan.
        'single' => ['driver' => 'single', 'path' => storage_path('logs/laravel.log'), 'level' => 'info', 'permission' => 0666],
        'null' => ['driver' => 'monolog', 'handler' => Monolog\Handler\NullHandler::class],
        'emergency' => ['path' => storage_path('logs/laravel.log')],
    ],
];
